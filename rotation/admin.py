"""Rotations, tasks and consumers in Django's admin, to look at only."""

from django.contrib import admin

from keyvault.admin import ReadOnlyAdmin
from rotation.models import Consumer, Delivery, HumanTask, Rotation, RotationPolicy


@admin.register(Rotation)
class RotationAdmin(ReadOnlyAdmin):
    """Rotations and what they wait for."""

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
