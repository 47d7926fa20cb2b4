"""Settings: the way to everything that is set up once, and how this installation is configured."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from keyvault.access.permissions import Permission, may
from keyvault.console.decorators import current_member, login_required_page

_LISTED = (
    ("Address", "BASE_URL", "Links in mails and feeds begin with it."),
    ("Time zone", "TIME_ZONE", "Where people and policies choose no other."),
    ("Vault", "VAULT_ADDR", "Where every secret lies."),
    ("Mail from", "MAIL_FROM", "Who mails come from."),
    ("Overlap, seconds", "DEFAULT_OVERLAP_SECONDS", "How long old and new key both work."),
    ("Quiet period, seconds", "DEFAULT_QUIET_SECONDS", "How long an old key must be unused."),
    ("Warnings, days before an end", "EXPIRY_REMINDER_DAYS", "When people are told."),
    (
        "Check each key, hours",
        "KEY_CHECK_INTERVAL_HOURS",
        "How often vendors are asked about a current key.",
    ),
    ("Starts a tick", "MAX_STARTS_PER_TICK", "No more rotations begin at once."),
    ("Open at an account", "MAX_ROTATIONS_PER_ACCOUNT", "No more rotations run there at once."),
    ("Secrets kept in memory, seconds", "FETCH_CACHE_SECONDS", "What a sealed Vault still serves."),
)
# Secret, or long: the page says only whether they are there.
_PRESENT = (
    ("Mail server", "EMAIL_HOST"),
    ("Single sign-on", "OIDC_CLIENT_ID"),
    ("Directory (SCIM)", "SCIM_TOKEN"),
    ("Metrics token", "METRICS_TOKEN"),
    ("Signer in Vault's transit engine", "AUDIT_TRANSIT_KEY"),
    ("Error reports", "SENTRY_DSN"),
)


@require_GET
@login_required_page
def show(request: HttpRequest) -> HttpResponse:
    """Show where things are set up; to owners also how the installation is configured."""
    owner = may(current_member(request), Permission.MANAGE)
    facts = {
        "owner": owner,
        "values": [_row(*one) for one in _LISTED] if owner else [],
        "present": [_presence(*one) for one in _PRESENT] if owner else [],
        "section": "settings",
    }
    return render(request, "console/settings/index.html", facts)


def _row(name: str, setting: str, why: str) -> dict[str, Any]:
    value = getattr(settings, setting)
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    return {"name": name, "setting": setting, "value": value, "why": why}


def _presence(name: str, setting: str) -> dict[str, Any]:
    return {"name": name, "setting": setting, "there": bool(getattr(settings, setting, ""))}
