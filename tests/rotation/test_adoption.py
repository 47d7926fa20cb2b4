"""Which proofs count that consumers moved, weighed one by one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from keyvault.models import ApiKey, KeyVersion
from rotation.consumers import registry
from rotation.consumers.adoption import judge
from rotation.models import Reason, Rotation, WaitingFor


def rotation(*, published=100, quiet=60, checked=5, answer="valid", **options):
    """Return an unsaved rotation; the vendor accepted the old key `checked` seconds ago."""
    old = KeyVersion(pk=1, number=1, check_answer=answer if checked is not None else "")
    old.checked_at = None if checked is None else ago(checked)
    return Rotation(
        key_id=0,
        old_version=old,
        new_version=KeyVersion(pk=2, number=2),
        published_at=ago(published),
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
    ("published", "checked", "last_used", "done"),
    [
        (100, 95, 95, True),  # nobody but we used it since the switch, and that is long enough
        (10, 8, 8, False),  # the quiet period has not passed since the switch
        (100, 300, 200, True),  # used by others before the switch
        (100, 95, 70, True),  # used by others after the switch, and quiet since
        (100, 95, 30, False),  # used by others after the switch, not quiet yet
        (10, 5000, 5000, False),  # quiet counts from the switch on, not from the last use
    ],
)
def test_quiet_is_counted_from_the_later_of_switch_and_use(
    own_key, published, checked, last_used, done
):
    """B09: a key that a weekly job uses is not quiet because nobody used it an hour ago."""
    run = rotation(published=published, checked=checked)
    run.key = own_key
    verdict = judge(run, ago(last_used), vendor_tells=True)
    assert verdict.done is done
    assert verdict.done or verdict.waiting_for == WaitingFor.QUIET


@pytest.mark.parametrize(
    ("checked", "last_used", "why"),
    [
        (5, None, "never"),
        (5, 86400, "after that"),  # rounded to the day, or counted an hour late
        (5, 3600, "after that"),
        (5, 7, "after that"),  # beyond what this vendor is known to round to
        (5, -600, "not come yet"),  # its clock is ahead: who can say what it means?
        (None, None, "no check of ours"),
        (None, 50_000, "no check of ours"),
    ],
)
def test_a_word_that_does_not_know_our_own_check_shows_no_quiet(own_key, checked, last_used, why):
    """B118, F13: null, coarse, late: what the vendor leaves out was taken for "never used"."""
    run = rotation(published=100_000, checked=checked)
    run.key = own_key
    verdict = judge(run, None if last_used is None else ago(last_used), vendor_tells=True)
    assert (verdict.done, verdict.waiting_for) == (False, WaitingFor.ADOPTION)
    assert "does not count" in verdict.missing
    assert why in verdict.missing


@pytest.mark.parametrize("answer", ["refused", "cannot_tell"])
def test_only_an_accepted_check_calibrates(own_key, answer):
    run = rotation(published=100_000, answer=answer)
    run.key = own_key
    assert not judge(run, ago(5), vendor_tells=True).done


def test_what_an_account_says_of_lag_and_resolution_counts(own_key):
    """F13: a word that may be an hour late, or rounded to ten minutes, is waited for so much longer."""
    settings = {"last_use_resolution_seconds": 600, "last_use_lag_seconds": 3600}
    own_key.account.settings = settings
    run = rotation(published=100_000, checked=5)
    run.key = own_key
    assert judge(run, ago(4000), vendor_tells=True).done
    assert "does not count" in judge(run, ago(4300), vendor_tells=True).missing
    for quiet, done in ((1500, True), (2500, False)):
        recent = rotation(published=6000, checked=5, quiet=quiet)
        recent.key = own_key
        assert judge(recent, ago(4000), vendor_tells=True).done is done
    # Shorter than two steps of the vendor's clock shows nothing, whatever the rotation was given.
    short = rotation(published=5300, checked=5, quiet=1)
    short.key = own_key
    assert not judge(short, ago(4000), vendor_tells=True).done


def test_our_own_checks_do_not_make_a_key_look_busy(own_key):
    """B118: a check every few minutes is a use at the vendor, and nobody's need of the key."""
    run = rotation(published=10_000, checked=2)
    run.key = own_key
    verdict = judge(run, ago(2.05), vendor_tells=True)
    assert verdict.done
    assert "no use but our own checks" in verdict.how
    assert not judge(run, ago(1), vendor_tells=True).done


def test_time_in_which_the_word_did_not_count_is_not_quiet(own_key):
    """B118: a word that was worthless until a moment ago shows nothing of the hours before."""
    run = rotation(published=10_000, checked=5, quiet_from=ago(30))
    run.key = own_key
    assert not judge(run, ago(5), vendor_tells=True).done
    run.quiet_from = ago(70)
    assert judge(run, ago(5), vendor_tells=True).done


def test_a_key_that_died_by_itself_never_fell_quiet(own_key):
    """B116: "was gone before we ended it" is no proof that nothing needed it: a person says so."""
    run = rotation(published=10_000, old_gone_at=ago(500), old_gone_how="There is no such key.")
    run.key = own_key
    verdict = judge(run, ago(5), vendor_tells=True)
    assert (verdict.done, verdict.waiting_for) == (False, WaitingFor.ADOPTION)
    assert "was gone before we ended it" in verdict.missing
    assert "a person must confirm" in verdict.missing


@pytest.fixture
def nightly(people, place):
    """Return a consumer on record that proves nothing; its key belongs to the application."""
    return registry.add_consumer(
        people.owner, "nightly job", place.application, place.environment
    ).consumer


@pytest.mark.parametrize("vendor_tells", [True, False])
@pytest.mark.parametrize("last_used", [None, 5000, 200, 90, 30, 5, 0])
def test_no_silence_outvotes_a_consumer_that_is_on_record(
    people, place, nightly, last_used, vendor_tells
):
    """B118, F2: what has not moved is waited for, whatever the vendor says or leaves out."""
    run = rotation(published=100_000, checked=5)
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
    assert judge(run, ago(5), vendor_tells=True).done is False


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
