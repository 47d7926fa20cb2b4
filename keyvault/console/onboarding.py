"""The first steps: from an empty installation to an application that fetches its key.

What is done shows by what there is, so that leaving and coming back loses nothing; a step may be
left out, and done later all the same.
"""

from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import models

from keyvault.access.permissions import require_owner
from keyvault.models import ApiKey, Application, Environment, Member, VendorAccount
from rotation.models import Consumer, OnboardingSkip, PolicyScope, RotationPolicy


class Name(models.TextChoices):
    """The steps in their order."""

    ACCOUNT = "account", "An account at the vendor"
    ENVIRONMENTS = "environments", "Environments"
    APPLICATION = "application", "An application"
    KEY = "key", "The first key"
    POLICY = "policy", "When keys rotate"
    CONSUMER = "consumer", "Where the key is used"


@dataclass(frozen=True)
class Step:
    """One step and how it stands: done, skipped, or open; the first open one is the next."""

    name: Name
    state: str
    next: bool = False


def steps() -> list[Step]:
    """Return all steps as they stand."""
    there_is, skipped = _look()
    found, next_is_free = [], True
    for name, there in there_is.items():
        state = "done" if there else "skipped" if name in skipped else "open"
        found.append(Step(name, state, next_is_free and state == "open"))
        next_is_free = next_is_free and state != "open"
    return found


def _look() -> tuple[dict[Name, bool], set[str]]:
    """Return what there is and what was left out, in one statement."""
    kinds: dict[str, type[models.Model]] = {
        Name.ACCOUNT: VendorAccount,
        Name.ENVIRONMENTS: Environment,
        Name.APPLICATION: Application,
        Name.KEY: ApiKey,
        Name.POLICY: PolicyScope,
        Name.CONSUMER: Consumer,
    }
    asked: dict[str, Any] = {
        name: models.Exists(kind._default_manager.all()) for name, kind in kinds.items()
    }
    asked["own_policy"] = models.Exists(RotationPolicy.objects.all())
    asked["skipped"] = ArraySubquery(OnboardingSkip.objects.values("step"))
    row: dict[str, Any] = Member.objects.annotate(**asked).values(*asked)[:1].get()
    there = {Name(name): bool(row[name]) for name in kinds}
    there[Name.POLICY] = there[Name.POLICY] or bool(row["own_policy"])
    return there, set(row["skipped"])


def untouched(found: list[Step]) -> bool:
    """Return whether nothing was begun: such an installation leads its owner to the first step."""
    begun = (Name.ACCOUNT, Name.ENVIRONMENTS, Name.APPLICATION, Name.KEY)
    return all(one.state == "open" for one in found if one.name in begun)


def skip(by: Member, name: Name) -> None:
    """Leave a step out."""
    require_owner(by, "leave out a step")
    OnboardingSkip.objects.get_or_create(step=name, defaults={"skipped_by": by})
