"""Show a secret that was just made: the POST that made it redirects, and loading the page again makes none.

Between the two the secret is in one cookie of that browser, sealed under a key that only the server has,
for five minutes; it is kept nowhere here.
"""

import json
import secrets
from typing import Any

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from keyvault.console.decorators import current_member, login_required_page, unstored
from keyvault.core.encryption import sealer
from keyvault.core.errors import NotFound

SECONDS = 300
_PURPOSE = "shown"
# Browsers keep no larger cookie; what does not fit is shown in the answer itself.
_MOST = 3800


def hand_over(request: HttpRequest, template: str, facts: dict[str, Any]) -> HttpResponse:
    """Return the redirect to a page that shows `facts` by `template`, to this person and browser only.

    `facts` are plain values: what the page needs is read from them alone.
    """
    held = {"member": current_member(request).pk, "template": template, "facts": facts}
    sealed = sealer(_PURPOSE).encrypt(json.dumps(held).encode()).decode()
    if len(sealed) > _MOST:
        return unstored(render(request, template, facts))
    where = reverse("shown", args=[secrets.token_hex(8)])
    response = redirect(where)
    response.set_cookie(
        _cookie(where),
        sealed,
        max_age=SECONDS,
        path=where,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Strict",
    )
    return unstored(response)


@require_GET
@login_required_page
def shown(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001
    """Show what was handed over, for five minutes, to whoever it was made for."""
    try:
        sealed = request.COOKIES.get(_cookie(request.path), "")
        # guard: what is shown once ends
        held = json.loads(sealer(_PURPOSE).decrypt(sealed.encode(), ttl=SECONDS))
    except InvalidToken:
        held = {}
    # guard: what is shown once is for one person
    if held.get("member") != current_member(request).pk:
        raise NotFound(
            (
                "This was shown for five minutes and cannot be shown again: it is kept nowhere. What was "
                "made exists. If it did not reach its place, make another one where this one was made; "
                "renewing a token cuts off no program that uses a former text."
            ),
            code="not_shown_again",
        )
    return unstored(render(request, held["template"], held["facts"]))


def _cookie(path: str) -> str:
    return f"keyvault_shown_{path.rstrip('/').rpartition('/')[2]}"
