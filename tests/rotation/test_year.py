"""A year of 2,000 keys in seconds: freezes, downtime and clock jumps, through the real tick.

Nothing is missed, nothing is done twice, and nothing begins outside its window or in a freeze
unless its policy says so. Rotations end at once here; what they do is tested elsewhere.
"""

import sys
import time as clock
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db.models import Min
from django.test import override_settings

from keyvault.models import ApiKey, Application, KeyVersion
from rotation import tasks
from rotation.models import OPEN_STEPS, Rotation, RotationPolicy
from rotation.scheduling import freezes, inheritance, windows
from rotation.scheduling.freeze_days import Freezes
from rotation.scheduling.policies import Wish

BERLIN = ZoneInfo("Europe/Berlin")
KEYS, APPLICATIONS = 2000, 500
BEGIN = datetime(2030, 1, 7, tzinfo=UTC)
END = BEGIN + timedelta(days=365)
STEP = timedelta(hours=1)
# The service is down: no tick at all.
DOWN = [
    (datetime(2030, 3, 5, tzinfo=UTC), datetime(2030, 3, 8, tzinfo=UTC)),
    (datetime(2030, 7, 16, 9, tzinfo=UTC), datetime(2030, 7, 16, 15, tzinfo=UTC)),
    (datetime(2030, 10, 1, tzinfo=UTC), datetime(2030, 10, 9, tzinfo=UTC)),
]
# At these moments the clock jumps by so much, for one tick.
JUMPS = {
    datetime(2030, 2, 12, 12, tzinfo=UTC): timedelta(hours=-5),
    datetime(2030, 5, 21, 12, tzinfo=UTC): timedelta(days=2),
    datetime(2030, 9, 3, 11, tzinfo=UTC): timedelta(days=-40),
}
# A rotation may come later than its interval by its window, a freeze, downtime, and its turn.
LATE = timedelta(days=32)


@pytest.fixture
def inventory(place, people):
    """Return 2,000 keys with a secret each, of 500 applications, under policies of three levels."""
    apps = Application.objects.bulk_create(
        Application(name=f"app {number}") for number in range(APPLICATIONS)
    )
    rows = ApiKey.objects.bulk_create(
        ApiKey(
            account=place.manual_account if number % 4 == 0 else place.api_account,
            environment=place.production if number % 2 else place.environment,
            application=apps[number % APPLICATIONS],
            name=f"key {number}",
            rotated_at=BEGIN - timedelta(hours=(number * 7) % (290 * 24)),
        )
        for number in range(KEYS)
    )
    versions = KeyVersion.objects.bulk_create(
        KeyVersion(
            key=key,
            number=1,
            state="current",
            fingerprint=f"{number:064x}",
            length=40,
            published_at=key.rotated_at,
        )
        for number, key in enumerate(rows)
    )
    for key, version in zip(rows, versions, strict=True):
        key.current = version
    ApiKey.objects.bulk_update(rows, ["current"], batch_size=1000)
    with time_machine.travel(BEGIN, tick=False):
        daily = Wish(300, time(3), "Europe/Berlin", 0, 1, window="Tue-Thu 10:00-16:00")
        inheritance.set_scope(people.owner, None, daily)
        inheritance.set_scope(
            people.owner, place.environment, Wish(missed="now", jitter_minutes=90)
        )
        inheritance.set_scope(people.owner, apps[3], Wish(rule="first Monday", window="any"))
        inheritance.set_scope(people.owner, apps[4], Wish(rule="FREQ=YEARLY", max_age_days=90))
        freezes.add_freeze(
            people.owner, "Black Friday", date(2030, 11, 25), date(2030, 12, 2), place.production
        )
        freezes.add_freeze(
            people.owner, "Year end", date(2025, 12, 20), date(2026, 1, 6), rule="FREQ=YEARLY"
        )
    return apps


def moments():
    """Yield the moments of the ticks, the clock as it stands then; idle stretches are left out."""
    at = BEGIN
    while at < END:
        at += STEP
        if any(begin <= at < end for begin, end in DOWN):
            continue
        if at in JUMPS:
            yield at + JUMPS[at]
        earliest = RotationPolicy.objects.filter(enabled=True).aggregate(at=Min("next_run_at"))[
            "at"
        ]
        if earliest <= at:
            yield at


def finish(now):
    """End what is open, as a rotation does that meets no obstacle."""
    running = Rotation.objects.filter(step__in=OPEN_STEPS)
    ApiKey.objects.filter(pk__in=running.values("key")).update(rotated_at=now)
    running.update(step="done", finished_at=now)


@override_settings(MAX_STARTS_PER_TICK=50, MAX_ROTATIONS_PER_ACCOUNT=40)
def test_a_year_misses_nothing_and_does_nothing_twice(inventory, capsys):
    began, ticks = clock.monotonic(), 0
    for now in moments():
        with time_machine.travel(now, tick=False):
            tasks.tick()
            if ticks % 50 == 0:
                tasks.tick()  # two beats are no harm
            started = Rotation.objects.filter(step__in=OPEN_STEPS).values_list(
                "key__application", flat=True
            )
            together = Counter(started).most_common(1)
            assert not together or together[0][1] == 1, f"siblings at once at {now}"
            assert len(started) <= 80
            finish(now)
        ticks += 1
    seconds = clock.monotonic() - began
    runs = list(Rotation.objects.order_by("started_at").select_related("key__policy"))
    with capsys.disabled():
        told = f"{KEYS} keys, {len(runs)} rotations, {ticks} ticks, {seconds:.0f} s"
        sys.stderr.write(f"\nyear: {told}\n")
    judge_moments(runs)
    judge_gaps(runs, inventory)


def judge_moments(runs):
    """Each began in its window and in no freeze; late ones only where the policy lets them."""
    with time_machine.travel(BEGIN, tick=False):
        held = Freezes()
    late = 0
    for run in runs:
        policy, at = run.key.policy, run.started_at
        frozen = held.of(run.key.environment_id)
        assert windows.next_open(at, None, frozen, BERLIN) == at, f"{run} began in a freeze"
        in_window = windows.next_open(at, windows.parse(policy.window), frozen, BERLIN) == at
        late += not in_window
        assert in_window or policy.missed == "now", f"{run} began outside its window"
    assert 0 < late < len(runs) / 4, "downtime made some late, where that is allowed"


def judge_gaps(runs, apps):
    """Each key rotated as often as its policy says: never twice for one due time, none left out."""
    by_key = defaultdict(list)
    for run in runs:
        by_key[run.key].append(run)
    assert len(by_key) == KEYS, "every key rotated"
    for key, own in by_key.items():
        times = [run.started_at for run in own]
        assert len({run.scheduled_for for run in own}) == len(own)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        if key.application_id == apps[3].pk:
            assert 10 <= len(own) <= 13, "on the first Monday of each month"
            continue
        interval = timedelta(days=90 if key.application_id == apps[4].pk else 300)
        shortest = interval - timedelta(days=10 if key.application_id == apps[4].pk else 3)
        assert all(shortest <= gap <= interval + LATE for gap in gaps), (key, gaps)
        assert END - times[-1] <= interval + LATE, f"{key} was left out after {times[-1]}"
