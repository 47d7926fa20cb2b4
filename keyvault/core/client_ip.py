"""Which address a request comes from, also when it comes through proxies of ours.

Each proxy appends the address that it was called from to X-Forwarded-For, so the list is true from
its right end up to the first address that is no proxy of ours. All further left is the caller's word.
"""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

from keyvault.core.env import SOCKET

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::\d{1,5})?|(\d+\.\d+\.\d+\.\d+):\d{1,5}", re.ASCII)


def client_address(request: HttpRequest) -> str:
    """Return the right-most address that is none of TRUSTED_PROXIES, in its normal form.

    Where an entry is no address, the proxy that passed it on is all that is known. Empty when the
    server was called over a socket by a program that is not trusted, or that names nobody.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    known = _address(peer)
    if not (_is_proxy(known) if known else _is_trusted_socket(peer)):
        # guard: headers of direct callers
        return str(known or "")
    for said in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
        address = _address(said.strip())
        if address is None:
            break
        known = address
        if not _is_proxy(address):
            break
    return str(known or "")


def _address(text: str) -> Address | None:
    """Return the address in `text`, a mapped one as the IPv4 address that it is, without a port.

    A zone (fe80::1%eth0) may hold any text, and means nothing on another machine: it is left out.
    """
    match = _WITH_PORT.fullmatch(text)
    plain = (match[1] or match[2]) if match else text
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_proxy(address: Address) -> bool:
    return any(address in one for one in settings.TRUSTED_PROXIES if one != SOCKET)


def _is_trusted_socket(peer: str) -> bool:
    """Tell whether the call came over a socket of this machine, which has no address."""
    return not peer and SOCKET in settings.TRUSTED_PROXIES
