"""Post to an address that a person set: public only, no redirect, one deadline over the whole call."""

from dataclasses import dataclass

import requests
from django.conf import settings
from requests_hardened import Config, Manager
from requests_hardened.ip_filter import InvalidIPAddress

from rotation.providers import deadline

_TIMEOUT = (5.0, 10.0)


@dataclass(frozen=True)
class Posted:
    """What came of a call; `final` means that trying again makes no sense."""

    sent: bool
    text: str
    final: bool = False


def post(url: str, body: str, headers: dict[str, str], seconds: float) -> Posted:
    """Post the body and say what came of it; the call ends after `seconds` in all. Never raises."""
    sender = Manager(
        Config(
            ip_filter_enable=True,
            ip_filter_allow_loopback_ips=settings.ALLOW_LOOPBACK_TARGETS,
            never_redirect=True,
            default_timeout=_TIMEOUT,
            user_agent_override="keyvault",
        )
    )
    try:
        with sender.get_session() as session, deadline.within(seconds) as limit:
            session.trust_env = False
            deadline.install(session)
            with session.post(
                url, data=body.encode(), headers=headers, stream=True, allow_redirects=False
            ) as response:
                status = response.status_code
    except InvalidIPAddress:
        return Posted(False, "The address is private or local, which is not allowed.", final=True)
    except (requests.RequestException, ValueError) as error:
        return Posted(False, f"No answer ({type(error).__name__}).")
    if limit.passed:  # headers that are cut off look complete
        return Posted(False, "The receiver answered too slowly.")
    if 200 <= status < 300:
        return Posted(True, f"Answered {status}.")
    return Posted(False, f"Answered {status}.", final=status == 410)
