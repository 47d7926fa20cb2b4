"""Tell chats and pagers that speak a language of their own, through the library Apprise if installed.

Apprise makes its own calls, past the rules for addresses in posting.py. So only services with a
fixed address are let through, each by its scheme; whoever writes an address in full uses a hook of
another kind. The library is loaded when the first such message is sent.
"""

import importlib.util
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from keyvault.core.errors import BadInput
from keyvault.core.outbound_http import Posted

# Services whose plugin calls one address of the service itself, whatever stands in the URL.
SERVICES = {
    "discord": "Discord",
    "dingtalk": "DingTalk",
    "feishu": "Feishu",
    "gchat": "Google Chat",
    "lark": "Lark",
    "opsgenie": "Opsgenie",
    "pagerduty": "PagerDuty",
    "pbul": "Pushbullet",
    "pover": "Pushover",
    "slack": "Slack",
    "splunk": "Splunk On-Call",
    "tgram": "Telegram",
    "twilio": "Twilio",
    "whatsapp": "WhatsApp",
    "workflows": "Microsoft Teams",
    "wxteams": "Webex",
}
# Where a person does write the host, it must be one of the service's own.
_HOSTS = {"workflows": (".logic.azure.com", ".powerplatform.com")}
_CONNECT_SECONDS, _READ_SECONDS = 5.0, 10.0


def is_there() -> bool:
    """Return whether the library is installed."""
    return importlib.util.find_spec("apprise") is not None


def require_usable(url: str) -> str:
    """Return the name of the service that the URL is for; BadInput when nothing can be sent there."""
    if not is_there():
        raise BadInput(
            (
                "Other chats need the library Apprise, which is not installed here: see README. "
                "Nothing was stored."
            ),
            code="not_installed",
        )
    scheme = url.partition("://")[0].lower()
    if scheme not in SERVICES and not _is_sandbox(url):
        raise BadInput(
            (
                "The address must begin with one of {schemes}. For any other program use a signed "
                "webhook. Nothing was stored."
            ).format(schemes=", ".join(f"{one}://" for one in SERVICES)),
            code="bad_address",
        )
    if "?" in url:
        # Some take the text from a file of this machine or from any address: ?template=/run/secrets/…
        raise BadInput(
            "The address may have no options after a “?”. Nothing was stored.",
            code="bad_address",
        )
    if not url.isprintable() or not _is_own_host(scheme, url) or _plugin(url) is None:
        raise BadInput(
            f"The address is not complete: Apprise's page about {SERVICES.get(scheme, scheme)} says how."
            + " "
            + "Nothing was stored.",
            code="bad_address",
        )
    return SERVICES.get(scheme, scheme)


def send(url: str, title: str, text: str, *, urgent: bool) -> Posted:
    """Send it and say what came of it. Never raises."""
    plugin = _plugin(url) if is_there() else None
    if plugin is None:
        return Posted(False, "Apprise is not installed, or does not know this address any more.")
    kind = "failure" if urgent else "info"
    try:
        sent = plugin.notify(title=title, body=text, notify_type=kind)
    except (OSError, ValueError, TypeError) as error:
        return Posted(False, f"It could not be sent ({type(error).__name__}).")
    return Posted(True, "Handed over.") if sent else Posted(False, "The service did not take it.")


def _is_own_host(scheme: str, url: str) -> bool:
    return scheme not in _HOSTS or _host(url).endswith(_HOSTS[scheme])


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_sandbox(url: str) -> bool:
    """A receiver on this machine, where vendors and webhooks may be as well."""
    here = url.startswith("json://") and _host(url) == "127.0.0.1"
    return settings.ALLOW_LOOPBACK_TARGETS and here


def _plugin(url: str) -> Any:
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(app_id="Keyvault", app_desc="Keyvault", secure_logging=True)
    plugin = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if plugin is not None:
        plugin.socket_connect_timeout = _CONNECT_SECONDS
        plugin.socket_read_timeout = _READ_SECONDS
    return plugin
