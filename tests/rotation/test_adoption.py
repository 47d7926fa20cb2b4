"""Which proofs count that consumers moved, weighed one by one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from keyvault.models import ApiKey, KeyVersion
from rotation import consumers
from rotation.adoption import judge
from rotation.models import Reason, Rotation, WaitingFor


def rotation(people=None, *, published=100, quiet=60, **options):
    """Return an unsaved rotation that was published so many seconds ago."""
    return Rotation(
        key_id=0,
        old_version=KeyVersion(pk=1, number=1),
        new_version=KeyVersion(pk=2, number=2),
        published_at=timezone.now() - timedelta(seconds=published),
        quiet_seconds=quiet,
        reason=options.pop("reason", Reason.MANUAL),
        **options,
    )


def ago(seconds):
    return timezone.now() - timedelta(seconds=seconds)


@pytest.fixture
def own_key(people, place):
    return ApiKey.objects.create(
        account=place.api_account, environment=place.environment, member=people.operator, name="own"
    )


@pytest.mark.parametrize(
    ("published", "last_used", "done"),
    [
        (100, None, True),  # never used, and quiet for long enough since the switch
        (10, None, False),  # never used, but the quiet period has not passed since the switch
        (100, 200, True),  # last used before the switch
        (100, 70, True),  # used after the switch, and quiet since
        (100, 30, False),  # used after the switch, not quiet yet
        (10, 5000, False),  # quiet counts from the switch on, not from the last use
    ],
)
def test_quiet_is_counted_from_the_later_of_switch_and_use(own_key, published, last_used, done):
    """B09: a key that a weekly job uses is not quiet because nobody used it an hour ago."""
    run = rotation(published=published)
    run.key = own_key
    verdict = judge(run, ago(last_used) if last_used else None, vendor_tells=True)
    assert verdict.done is done
    if not done:
        assert verdict.waiting_for == WaitingFor.QUIET


@pytest.fixture
def nightly(people, place):
    """Return a consumer on record that proves nothing; its key belongs to the application."""
    return consumers.add_consumer(
        people.owner, "nightly job", place.application, place.environment
    ).consumer


@pytest.mark.parametrize("vendor_tells", [True, False])
@pytest.mark.parametrize("last_used", [None, 5000, 200, 90, 30, 0])
def test_no_silence_outvotes_a_consumer_that_is_on_record(
    people, place, nightly, last_used, vendor_tells
):
    """B118, F2: what has not moved is waited for, whatever the vendor says or leaves out."""
    run = rotation(published=100_000)
    run.key = ApiKey.objects.create(
        account=place.api_account,
        environment=place.environment,
        application=place.application,
        name="of the shop",
    )
    run.new_version = KeyVersion(pk=2, number=2)
    used = None if last_used is None else ago(last_used)
    verdict = judge(run, used, vendor_tells=vendor_tells)
    assert (verdict.done, verdict.how) == (False, "")
    assert verdict.waiting_for == WaitingFor.ADOPTION
    assert "Not yet on the new key: nightly job." in verdict.missing


def test_time_alone_is_no_proof(own_key):
    run = rotation(published=10_000_000)
    run.key = own_key
    verdict = judge(run, None, vendor_tells=False)
    assert (verdict.done, verdict.waiting_for) == (False, WaitingFor.ADOPTION)


def test_a_quiet_period_of_nothing_is_taken_as_a_second(own_key):
    run = rotation(published=0, quiet=0)
    run.key = own_key
    assert judge(run, None, vendor_tells=True).done is False


def test_a_leak_and_a_waiver_need_no_proof(own_key, people):
    leak = rotation(published=0, reason=Reason.LEAK)
    assert judge(leak, ago(0), vendor_tells=True).done
    waived = rotation(
        published=0,
        waived_by=people.operator,
        waived_at=timezone.now(),
        waiver_reason="the job was switched off",
    )
    assert "the job was switched off" in judge(waived, ago(0), vendor_tells=True).how
