"""A typed client of the sandbox vendor: its control API, and its dashboard as a script would use it."""

import hashlib
import html
import re
from pathlib import Path
from typing import Any

import requests

Row = dict[str, Any]

_TIMEOUT = (5.0, 30.0)
_NEW_KEY = re.compile(r'id="new-key"[^>]*>([^<]+)<')
_ROW = re.compile(r'id="row-(key_[0-9a-f]+)"')


class VendorRefused(Exception):
    """The vendor's control API or dashboard did not do what it was asked; says status and why."""


class VendorClient:
    """Speaks to the vendor whose folder this is; its port is read anew, so a restart is no matter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def url(self) -> str:
        """The vendor's base URL, for the API and the dashboard."""
        return f"http://127.0.0.1:{(self.folder / 'port').read_text().strip()}"

    def healthy(self) -> bool:
        """Return whether the vendor answers."""
        try:
            return _send("GET", f"{self.url}/_sandbox/health").status_code == 200
        except (OSError, requests.RequestException):
            return False

    def create_account(self, name: str, **settings: Any) -> Row:
        """Make an account: plan, key_limit, credits …; returns id, management_credential, email, password."""
        return self._control("POST", "accounts", {"name": name, **settings})

    def account(self, account_id: str) -> Row:
        """Return all settings and counts of an account, without its credentials."""
        return self._control("GET", f"accounts/{account_id}")

    def patch_account(self, account_id: str, **settings: Any) -> Row:
        """Change an account: envelope, stop_delay, list_lag, last_use_shown, key_limit, credits_used …"""
        return self._control("PATCH", f"accounts/{account_id}", settings)

    def set_envelope(self, envelope: str) -> None:
        """Choose the `flat` or `nested` error envelope for callers whose account is not known."""
        self._control("PATCH", "settings", {"envelope": envelope})

    def create_key(self, account_id: str, label: str = "", **options: Any) -> Row:
        """Make a key out of band, with `expires_at` and `scopes` if given; its secret is `["key"]`."""
        return self._control("POST", "keys", {"account": account_id, "label": label, **options})

    def patch_key(self, key_id: str, **changes: Any) -> Row:
        """Change a key: expires_at, created_at, scopes, disabled, label, valid_from, stops_at …"""
        return self._control("PATCH", f"keys/{key_id}", changes)

    def delete_key(self, key_id: str) -> None:
        """Delete a key out of band, as its owner might do in the dashboard."""
        self._control("DELETE", f"keys/{key_id}")

    def delete_key_by_secret(self, secret: str) -> None:
        """Delete the key that has this secret."""
        self.delete_key(self.lookup(secret)["id"])

    def keys(self, account_id: str | None = None) -> list[Row]:
        """Return all keys there ever were: id, label, sha256, state, accepted_now, times."""
        return list(self._control("GET", "keys", account=account_id)["keys"])

    def lookup(self, secret: str) -> Row:
        """Return the key that has this secret; VendorRefused when there never was one."""
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = self._control("GET", "keys", sha256=digest)["keys"]
        if not found:
            raise VendorRefused("There never was such a key.")
        return dict(found[0])

    def ledger(
        self, after: int = 0, account: str | None = None, route: str | None = None
    ) -> list[Row]:
        """Return the ledger's entries with a number above `after`, oldest first."""
        found = self._control("GET", "ledger", after=str(after), account=account, route=route)
        return list(found["entries"])

    def clear_ledger(self) -> None:
        """Forget the ledger; its numbers go on."""
        self._control("DELETE", "ledger")

    def fault(self, route: str, kind: str, times: int | None = 1, **options: Any) -> str:
        """Order a fault and return its id; `times=None` is until it is cleared."""
        order = {"route": route, "kind": kind, "times": times, **options}
        return str(self._control("POST", "faults", order)["id"])

    def faults(self) -> list[Row]:
        """Return the faults on order, with how often each was `used`."""
        return list(self._control("GET", "faults")["faults"])

    def clear_faults(self, fault_id: str | None = None) -> None:
        """Cancel one fault, or all."""
        self._control("DELETE", f"faults/{fault_id}" if fault_id else "faults")

    def use(self, secret: str) -> int:
        """Call the vendor as an application would, and return the status of its answer."""
        headers = {"Authorization": f"Bearer {secret}"}
        url = f"{self.url}/v1/videos/track"
        return _send(
            "POST", url, headers=headers, json={"url": "https://videos.example/1"}
        ).status_code

    def dashboard(self, email: str, password: str) -> "Dashboard":
        """Sign in to the dashboard."""
        return Dashboard(self.url, email, password)

    def _control(self, method: str, path: str, body: Row | None = None, **query: str | None) -> Row:
        token = (self.folder / "control_token").read_text().strip()
        response = _send(
            method,
            f"{self.url}/_sandbox/{path}",
            headers={"X-Control-Token": token},
            params=query,
            json=body,
        )
        if not response.ok:
            raise VendorRefused(f"{method} {path}: {response.status_code} {response.text[:200]}")
        return dict(response.json()) if response.content else {}


class Dashboard:
    """A signed-in person at Settings → API, by plain form posts."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url = url
        response = _send("POST", f"{url}/sign-in", data={"email": email, "password": password})
        if response.status_code != 303:
            raise VendorRefused(f"sign-in: {response.status_code}")
        self._cookies = response.cookies.get_dict()

    def generate(self, name: str = "") -> str:
        """Press “Generate New API Key” and return the secret that is shown once."""
        self._post("/settings/api/keys", name=name)
        found = _NEW_KEY.search(self.page())
        if found is None:
            raise VendorRefused("The page shows no new key; the account may be at its limit.")
        return html.unescape(found[1])

    def delete(self, key_id: str) -> None:
        """Delete a key and confirm it."""
        self._post(f"/settings/api/keys/{key_id}/delete")

    def key_ids(self) -> list[str]:
        """Return the ids of the keys in the list."""
        return _ROW.findall(self.page())

    def page(self) -> str:
        """Return Settings → API as HTML."""
        return _send("GET", f"{self.url}/settings/api", cookies=self._cookies).text

    def _post(self, path: str, **form: str) -> None:
        response = _send("POST", self.url + path, cookies=self._cookies, data=form)
        if response.status_code != 303:
            raise VendorRefused(f"POST {path}: {response.status_code}")


def _send(method: str, url: str, **options: Any) -> requests.Response:
    # A session for each call: nothing stale after a restart, nothing of the environment's proxies.
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **options)
