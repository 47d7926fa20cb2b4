"""The page of one key: its versions, who holds what, what happened, and what may be done."""

from itertools import islice
from typing import Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from keyvault.access.permissions import Permission, permissions_on
from keyvault.console import timeline
from keyvault.console.decorators import current_member, login_required_page, parse_id, query_text
from keyvault.console.forms.keys import RevealForm
from keyvault.console.forms.policies import PolicyForm, begin
from keyvault.console.forms.rotations import PasteForm, RotateForm, VendorIdForm
from keyvault.console.holds import HoldForm
from keyvault.console.pauses import KeyPauseForm
from keyvault.console.progress import track
from keyvault.console.queries import state_of
from keyvault.inventory import hold_status, keys
from keyvault.inventory.edit_conflicts import edit_mark
from keyvault.inventory.reveal import needs_second_person
from keyvault.inventory.vendor_gateway import no_overlap
from keyvault.models import ApiKey, Member
from rotation.consumers import holders
from rotation.engine import blockers, retirement
from rotation.models import Rotation, RotationPolicy
from rotation.monitoring import stats
from rotation.scheduling import inheritance, pauses
from rotation.scheduling.forecast import Run, coming
from rotation.scheduling.freeze_days import Freezes

_RUNS, _VERSIONS, _HOLDERS = 8, 30, 200


@require_GET
@login_required_page
def show(request: HttpRequest, key_id: int) -> HttpResponse:
    """Show everything about one key, but its secret."""
    return render_key(request, keys.get_key(current_member(request), key_id))


def render_key(
    request: HttpRequest, key: ApiKey, *, problem: str = "", status: int = 200, **changed: Form
) -> HttpResponse:
    """Render the key's page, after a refused act with its words and the form as it was sent."""
    policy = RotationPolicy.objects.select_related("set_by", "key__account").filter(key=key).first()
    runs = _runs(key)
    versions = list(key.versions.select_related("added_by")[:_VERSIONS])
    kind, before = query_text(request, "kind"), parse_id(request.GET.get("before"))
    facts: dict[str, Any] = {
        "key": key,
        "policy": policy,
        "versions": versions,
        "open": next((run for run in runs if run["it"].is_open), None),
        "past": [run for run in runs if not run["it"].is_open],
        "holders": holders.of_key(key)[:_HOLDERS],
        "stream": timeline.stream(key, kind, before),
        "kind": kind,
        "before": before,
        "kinds": [(code, word) for code, (word, _) in timeline.KINDS.items()],
        "fetched": stats.fetches(key) if key.application_id else None,
        "can": _allowed(current_member(request), key),
        "no_overlap": no_overlap(key.account, key.current),
        "problem": problem,
        "section": "keys",
        "rotate_form": RotateForm(),
        "standby_form": PasteForm(prefix="standby"),
        "policy_form": PolicyForm(
            initial=begin(policy, edit_mark(key)), above=inheritance.explain(key, None)
        ),
        "reveal_form": RevealForm(prefix="reveal"),
        "runs_ahead": _ahead(policy),
        "held": blockers.blocker_of(policy),
        "can_retire": retirement.may_retire(current_member(request), key) and not key.archived_at,
        "holds": hold_status.holds_on(key.pk),
        "id_form": VendorIdForm(versions),
        "hold_form": HoldForm(prefix="hold"),
        "pauses": pauses.lasting_on_key(key),
        "pause_form": KeyPauseForm(),
        "second_person": needs_second_person(current_member(request), key),
        **changed,
    }
    return render(request, "console/keys/detail.html", facts, status=status)


def _ahead(policy: RotationPolicy | None) -> list[Run]:
    """Return the next five runs."""
    if policy is None:
        return []
    frozen = Freezes().of(policy.key.environment_id)
    return list(islice(coming(policy, frozen, timezone.now()), 5))


def _runs(key: ApiKey) -> list[dict[str, Any]]:
    """Return the key's last rotations with what is drawn of them; an open one is the newest."""
    runs = Rotation.objects.filter(key=key).select_related("old_version", "new_version")[:_RUNS]
    return [{"it": one, "state": state_of(one), "track": track(one)} for one in runs]


def _allowed(member: Member, key: ApiKey) -> dict[str, bool]:
    allowed = permissions_on(member, key)
    return {verb.value: verb in allowed for verb in Permission}
