"""Rotations, tasks and consumers in Django's admin: to look at, and acts that call the doors."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from keyvault.admin import ApiKeyAdmin, ReadOnlyAdmin
from keyvault.errors import KeyServiceError
from keyvault.models import ApiKey, Member
from rotation import workflow
from rotation.models import Consumer, Delivery, HumanTask, Reason, Rotation, RotationPolicy

_MOST = 100


def each(request: HttpRequest, rows: Iterable[Any], act: Callable[[Member, Any], object]) -> None:
    """Do one act to each row in the person's name, and say of which it did not work and why."""
    by, done = cast(Member, request.user), 0
    for row in rows:
        try:
            act(by, row)
            done += 1
        except KeyServiceError as error:
            messages.error(request, f"{row}: {error.message}")
    if done:
        messages.success(request, _("Done for {done}.").format(done=done))


admin.site.unregister(ApiKey)


@admin.register(ApiKey)
class RotatableKeyAdmin(ApiKeyAdmin):
    """Keys, which can be rotated from here."""

    actions = ("rotate",)

    @admin.action(description="Rotate these keys (100 at most)")
    def rotate(self, request: HttpRequest, keys: Any) -> None:
        """Start a rotation of each, as its page does."""
        each(request, keys[:_MOST], lambda by, key: workflow.start(by, key, Reason.MANUAL))


@admin.register(Rotation)
class RotationAdmin(ReadOnlyAdmin):
    """Rotations and what they wait for."""

    actions = ("retry", "cancel")

    @admin.action(description="Try these again now")
    def retry(self, request: HttpRequest, rotations: Any) -> None:
        """Have each tried again, as its page does."""
        each(request, rotations[:_MOST], workflow.retry)

    @admin.action(description="Cancel these, where nothing was published yet")
    def cancel(self, request: HttpRequest, rotations: Any) -> None:
        """Cancel each, as its page does."""
        each(request, rotations[:_MOST], workflow.cancel)

    list_display = ("id", "key", "step", "waiting_for", "reason", "started_at", "finished_at")
    list_filter = ("step", "waiting_for", "reason")
    list_select_related = ("key__account", "key__environment")


@admin.register(RotationPolicy)
class RotationPolicyAdmin(ReadOnlyAdmin):
    """Policies."""

    list_display = ("key", "every_days", "at_time", "time_zone", "enabled", "next_run_at")
    list_select_related = ("key__account", "key__environment")


@admin.register(HumanTask)
class HumanTaskAdmin(ReadOnlyAdmin):
    """Tasks for people."""

    list_display = ("kind", "key", "opened_at", "closed_at", "outcome")
    list_filter = ("kind",)
    list_select_related = ("key__account", "key__environment")


@admin.register(Consumer)
class ConsumerAdmin(ReadOnlyAdmin):
    """Consumers, without the way to their webhook secrets."""

    list_display = ("name", "application", "environment", "active")
    list_select_related = ("application", "environment")
    exclude = ("webhook_path",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Webhooks sent and to be sent."""

    list_display = ("event", "consumer", "state", "attempt", "sent_at", "last_error")
    list_filter = ("state",)
    list_select_related = ("consumer__application", "consumer__environment")
