"""A person at the API: signs in with a session, then sends JSON, as the demo and scripts do."""

import re
from typing import Any

import requests

_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class ConsoleRefused(Exception):
    """The product did not do what it was asked; says status and its own words."""


class ConsoleClient:
    """A signed-in session. Raises ConsoleRefused for any answer that is not a success."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        form = {"login": email, "password": password, "csrfmiddlewaretoken": self._token()}
        answer = self._session.post(f"{url}/sign-in", data=form, allow_redirects=False, timeout=10)
        if answer.status_code != 302:
            raise ConsoleRefused(f"sign-in: {answer.status_code}")
        # The token in pages is masked anew each time; any of them opens the API.
        self._csrf = self._token("/")

    def get(self, path: str) -> Any:
        """Return the JSON at `/api/v1/<path>`."""
        return self._checked(self._session.get(f"{self.url}/api/v1/{path}", timeout=10))

    def post(self, path: str, **body: Any) -> Any:
        """Send JSON to `/api/v1/<path>` and return the answer."""
        headers = {"X-CSRFToken": self._csrf, "Referer": self.url}
        url = f"{self.url}/api/v1/{path}"
        return self._checked(self._session.post(url, json=body, headers=headers, timeout=30))

    def _token(self, path: str = "/sign-in") -> str:
        page = self._session.get(f"{self.url}{path}", timeout=10).text
        found = _CSRF.search(page)
        if found is None:
            raise ConsoleRefused(f"{path} shows no form")
        return found[1]

    def _checked(self, answer: requests.Response) -> Any:
        if not answer.ok:
            raise ConsoleRefused(f"{answer.request.path_url}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}
