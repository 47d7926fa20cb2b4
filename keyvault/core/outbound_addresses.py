"""Which addresses people may have us call: https, public, and nothing but where and what.

A literal private address is refused when it is set. A name is looked up when it is called, and the
address behind it decides then: what it pointed to before proves nothing.
"""

import ipaddress
from urllib.parse import urlsplit

from django.conf import settings

from keyvault.core.errors import BadInput

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def require_safe(url: str, whose: str, *, path_only: bool = False) -> None:
    """Raise BadInput unless calls may go there; `whose` begins its text, such as "A webhook's".

    `path_only` refuses a query too, where paths are put behind the address. Loopback is for
    sandboxes.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad(f"{whose} address is not a valid one.") from None
    if not host or any(sign in url for sign in "\\ ") or not url.isprintable():
        raise _bad(f"{whose} address is not a valid one.")
    if "@" in parts.netloc:
        raise _bad(f"{whose} address must not contain a user name or password.")
    if parts.fragment or (path_only and parts.query):
        raise _bad(f"{whose} address is scheme, host and path only.")
    if settings.ALLOW_LOOPBACK_TARGETS and host in _LOOPBACK and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https":
        raise BadInput(
            f"{whose} address must begin with https://.",
            code="insecure_address",
        )
    if _is_private(host):
        raise BadInput(
            f"{whose} address is private or local, which is not allowed. Nothing was stored.",
            code="forbidden_address",
        )


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global or address.is_multicast


def _bad(text: str) -> BadInput:
    return BadInput(f"{text} Nothing was stored.", code="bad_address")
