"""How often keys may be checked within the calls that an account's plan leaves for it."""

from datetime import timedelta

from django.conf import settings

from keyvault.models import ApiKey, VendorAccount
from rotation.models import Rotation, Step

_MONTH = timedelta(days=30)


def interval_of(account: VendorAccount) -> timedelta:
    """Return how often each key of the account is asked about, within its monthly allowance."""
    hours = account.settings.get("key_check_interval_hours", settings.KEY_CHECK_INTERVAL_HOURS)
    return max(timedelta(hours=hours), allowed_interval(account))


def allowed_interval(account: VendorAccount) -> timedelta:
    """Return how often each key may be asked about at most: all of them share the month's calls."""
    calls = account.settings.get("key_check_monthly_limit", settings.KEY_CHECK_MONTHLY_LIMIT)
    keys = ApiKey.objects.filter(account=account, current__isnull=False).count()
    return _MONTH * (keys / max(1, int(calls)))


def spare_pause(account: VendorAccount) -> timedelta:
    """Return how often an old key may be asked about besides, within the calls that the watch leaves.

    They are shared by all rotations of the account that wait for their consumers.
    """
    calls = int(account.settings.get("key_check_monthly_limit", settings.KEY_CHECK_MONTHLY_LIMIT))
    keys = ApiKey.objects.filter(account=account, current__isnull=False).count()
    spare = calls - keys * (_MONTH / interval_of(account))
    waiting = Rotation.objects.filter(key__account=account, step=Step.VERIFY).count()
    return _MONTH * (max(1, waiting) / max(1.0, spare, calls / 10))
