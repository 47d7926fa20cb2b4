"""Settings of one vendor account: limits, and how its vendor's systems lag.

What an account leaves open follows the vendor's own figures and the installation's settings. They are
read again at each step, so that a change counts for rotations under way too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite

from django.conf import settings
from django.db import transaction

from keyvault.access.permissions import require_owner
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.errors import BadInput
from keyvault.inventory.edit_conflicts import require_unchanged
from keyvault.models import Member, VendorAccount
from keyvault.vendors import PROVIDERS
from keyvault.vendors.base import Timing

Number = int | float
_DAY = 86400


@dataclass(frozen=True)
class AccountSetting:
    """One setting: its name, what people read, its bounds (inclusive), and whether it is a count."""

    name: str
    label: str
    help_text: str
    least: Number
    most: Number
    whole: bool = True


ACCOUNT_SETTINGS = (
    AccountSetting(
        "key_limit",
        "Keys the account may hold",
        "A rotation needs room for one more key. The vendor's contract or dashboard names the limit.",
        1,
        1_000_000,
    ),
    AccountSetting(
        "key_check_interval_hours",
        "Hours between two checks of a key",
        "Each current key is checked this often, within the monthly limit.",
        1,
        24 * 31,
    ),
    AccountSetting(
        "key_check_monthly_limit",
        "Checks in a month",
        "All keys of the account share them. With more keys each is checked less often.",
        1,
        100_000_000,
    ),
    AccountSetting(
        "propagation_seconds",
        "Seconds until a change is known everywhere at the vendor",
        "A new key may be refused, and an old one accepted, for this long.",
        0.1,
        _DAY,
        whole=False,
    ),
    AccountSetting(
        "steady_answers",
        "Equal answers in a row that make a result",
        "The vendor's nodes may disagree for a while.",
        1,
        100,
    ),
    AccountSetting(
        "steady_spacing_seconds",
        "Seconds between these answers",
        "",
        0.1,
        3600,
        whole=False,
    ),
    AccountSetting(
        "list_lag_seconds",
        "Seconds until the vendor's list shows a new key",
        "",
        0.1,
        _DAY,
        whole=False,
    ),
    AccountSetting(
        "last_use_resolution_seconds",
        "Seconds to which the vendor rounds the last use",
        "An inactivity window must be at least twice as long.",
        0.1,
        31 * _DAY,
        whole=False,
    ),
    AccountSetting(
        "last_use_lag_seconds",
        "Seconds by which the last use is late",
        "",
        0.1,
        31 * _DAY,
        whole=False,
    ),
)
_BY_NAME = {setting.name: setting for setting in ACCOUNT_SETTINGS}


def defaults_of(account: VendorAccount) -> dict[str, Number | None]:
    """Return what counts where the account has no value of its own; None: there is no limit."""
    vendor = PROVIDERS.get(account.provider)
    timing = vendor.timing if vendor else Timing()
    return {
        "key_limit": vendor.key_limit if vendor else None,
        "key_check_interval_hours": settings.KEY_CHECK_INTERVAL_HOURS,
        "key_check_monthly_limit": settings.KEY_CHECK_MONTHLY_LIMIT,
        **{field.name: getattr(timing, field.name) for field in fields(Timing)},
    }


def change_settings(
    by: Member,
    account: VendorAccount,
    changes: Mapping[str, Number | None],
    seen: str | None = None,
) -> VendorAccount:
    """Store the values that `changes` names; None takes a value back. Others stay as they are.

    `seen` marks the account as the person saw it. Raises Denied, BadInput for an unknown name or a
    value out of bounds (nothing is stored then), or Conflict if somebody else changed it since.
    """
    require_owner(by, "change accounts")
    for name, value in changes.items():
        _require_valid(name, value)
    with transaction.atomic():
        fresh = VendorAccount.objects.select_for_update().get(pk=account.pk)
        require_unchanged(seen, fresh)
        before = dict(fresh.settings)
        after = {name: value for name, value in {**before, **changes}.items() if value is not None}
        differing = [name for name in changes if before.get(name) != after.get(name)]
        if differing:
            fresh.settings = after
            fresh.save(update_fields=["settings"])
            shown = {
                name: f"{before.get(name, 'default')} → {after.get(name, 'default')}"
                for name in differing
            }
            record(Action.ACCOUNT_CHANGED, member_actor(by), fresh, **shown)
    return fresh


def _require_valid(name: str, value: Number | None) -> None:
    setting = _BY_NAME.get(name)
    if setting is None:
        raise BadInput(
            f"There is no account setting of this name. Possible: {', '.join(_BY_NAME)}. "
            "Nothing was changed.",
            code="unknown_field",
        )
    if value is None:
        return
    # guard: account settings within their bounds
    if not isfinite(value) or not setting.least <= value <= setting.most:
        raise BadInput(
            f"“{setting.label}” must be between {setting.least:,} and {setting.most:,}. "
            "Nothing was changed.",
            code="out_of_bounds",
            details={"field": name},
        )
    if setting.whole and value != int(value):
        raise BadInput(
            f"“{setting.label}” must be a whole number. Nothing was changed.",
            code="out_of_bounds",
            details={"field": name},
        )
