"""`make screenshots`: every page at three widths in both themes into docs/screenshots/all/ (not kept in
git), and the six that README shows into docs/screenshots/ (SHOTS=best: these alone;
SHOTS=rare: the states seen seldom alone).

Not collected by `make test`.
"""

import os
import shutil
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from keyvault.access import approvals
from keyvault.models import Application, KeyVersion, Role
from keyvault.models.approvals import ApprovalAction
from rotation.campaigns import service
from rotation.campaigns.service import Choice
from rotation.consumers import registry
from rotation.models import Heartbeat, Reason, Rotation, WaitingFor
from rotation.notifications import triggers
from rotation.scheduling import freezes, policies
from rotation.scheduling.policies import Wish
from tests.conftest import ROOT
from tests.end_to_end.states import UNFOLD, answers, rare_pages
from tests.end_to_end.test_console import desk, every_page, manual
from tests.factories import grant, make_key, make_member, show
from tests.rotation.driving import drive, started

__all__ = ["desk", "manual"]

ALL, BEST = ROOT / "docs/screenshots/all", ROOT / "docs/screenshots"
WIDTHS = (375, 768, 1440)
NAMES = ("Video upload", "Reports", "Billing export", "Creator search", "Audience sync")


def test_every_page(desk: Any, vendor: Any, place: Any, people: Any, manual: Any) -> None:
    """Take them all; a page that complains fails the run."""
    wanted = os.environ.get("SHOTS", "")
    paths = [] if wanted == "rare" else every_page(people, vendor, place, manual)
    best = {} if wanted == "rare" else _world(vendor, place, people)
    rare = {} if wanted == "best" else rare_pages(vendor, place, people)
    shutil.rmtree(ALL, ignore_errors=True)
    ALL.mkdir(parents=True)
    BEST.mkdir(parents=True, exist_ok=True)
    desk.enter(people.owner)
    named = {path.strip("/").replace("/", "-") or "home": path for path in paths} | rare
    for theme in () if wanted == "best" else ("light", "dark"):
        desk.page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            desk.page.set_viewport_size({"width": width, "height": 900})
            for name, path in named.items():
                _take(desk, path, ALL / f"{name}-{width}-{theme}.png", unfold=name in rare)
            if rare:
                _take_answers(desk, place, people, f"{width}-{theme}.png")
    desk.page.emulate_media(color_scheme="light")
    desk.page.set_viewport_size({"width": 1280, "height": 800})
    for name, path in best.items():
        _take(desk, path, BEST / f"{name}.png", whole=False)


def _take(desk: Any, path: str, file: Path, *, whole: bool = True, unfold: bool = False) -> None:
    desk.go(path)
    if unfold:
        desk.page.evaluate(UNFOLD)
    desk.page.wait_for_load_state("networkidle")
    desk.page.screenshot(path=str(file), full_page=whole)


def _take_answers(desk: Any, place: Any, people: Any, ending: str) -> None:
    """Take what is shown only as an answer to a form, and what is said while the audit log is away."""
    for name in answers(desk, place, people):
        desk.page.wait_for_load_state("networkidle")
        desk.page.screenshot(path=str(ALL / f"{name}-{ending}"), full_page=True)


def _world(vendor: Any, place: Any, people: Any) -> dict[str, str]:
    """Fill the installation so that README's pages have something to show; return their paths."""
    waiting = Rotation.objects.filter(waiting_for=WaitingFor.ADOPTION)[0]
    for name in ("Recommendations", "Mobile backend"):
        place.application = Application.objects.create(name=name)
        for number, key_name in enumerate(NAMES):
            where = place.production if number % 2 else place.environment
            key = make_key(
                vendor, place, people.owner, name=f"{name}: {key_name}", environment=where
            )
            wish = Wish(7 + 3 * number, time(3, 30), "UTC", 0, 1)
            policies.set_policy(people.owner, key, wish)
            ends = timezone.now() + timedelta(days=2 + 6 * number)
            KeyVersion.objects.filter(key=key).update(expires_at=ends)
        registry.add_consumer(people.owner, "eu-west-1", place.application, place.environment)
    drive(started(people.owner, key), lambda r: r.waiting_for == WaitingFor.ADOPTION)
    leaver = grant(make_member("grace@example.com"), Role.DEVELOPER)
    show(leaver, waiting.key)
    today = timezone.now().date()
    freezes.add_freeze(people.owner, "Year end", date(today.year, 12, 24), date(today.year, 12, 31))
    approvals.add_rule(people.owner, ApprovalAction.WAIVER, place.production)
    exposed = service.exposed_by(Choice(account=place.api_account))
    campaign = service.start(people.owner, "A build server leaked", Reason.LEAK, exposed)
    service.work()
    for item in campaign.items.exclude(rotation=None)[:3]:
        assert item.rotation is not None
        drive(item.rotation)
    triggers.scan()
    Heartbeat.objects.update_or_create(name="tick", defaults={"at": timezone.now()})
    return {
        "rotations": "/rotations/",
        "rotation": f"/rotations/{waiting.pk}/",
        "keys": "/keys/by-application/",
        "campaign": f"/campaigns/{campaign.pk}/",
        "person": f"/people/{leaver.pk}/",
        "calendar": "/calendar/",
    }
