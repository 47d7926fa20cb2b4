"""A browser in which a member signed in before: a signed cookie says so.

Strangers' wrong passwords close an account to strangers; who comes with this cookie is counted apart,
so nobody can be kept out. It opens nothing by itself, and ends with the password that it was given for.
"""

import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from keyvault.core.hashing import peppered
from keyvault.models import Member

_SALT = "keyvault known device"
_AGE = 180 * 86400


def device_of(request: HttpRequest | None, member: Member | None) -> str:
    """Return the name of the device, when its cookie was given to this member; else an empty text."""
    if request is None or member is None:
        return ""
    try:
        said = signing.loads(
            request.COOKIES.get(settings.KNOWN_COOKIE_NAME, ""), salt=_SALT, max_age=_AGE
        )
    except signing.BadSignature:
        return ""
    # guard: a known browser is one person's
    fits = said.get("member") == member.pk and said.get("mark") == _mark(member)
    return str(said["device"]) if fits else ""


def _mark(member: Member) -> str:
    return peppered(member.password)[:16]


def remember_device(request: HttpRequest, member: Member) -> None:
    """Have the answer to this request say that the member signed in here."""
    device = device_of(request, member) or secrets.token_hex(8)
    given = {"member": member.pk, "mark": _mark(member), "device": device}
    request.known_device = signing.dumps(given, salt=_SALT)  # type: ignore[attr-defined]


def add_cookie(request: HttpRequest, response: HttpResponse) -> None:
    """Put what `remember` noted into the answer."""
    given: Any = getattr(request, "known_device", None)
    if given:
        response.set_cookie(
            settings.KNOWN_COOKIE_NAME,
            given,
            max_age=_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Lax",
        )
