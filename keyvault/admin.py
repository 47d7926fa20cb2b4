"""Django's admin: everything can be looked at, and nothing is changed but by acts of the doors."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

from keyvault.audit.models import AuditEvent
from keyvault.core.errors import KeyServiceError
from keyvault.delivery import tokens
from keyvault.models import (
    ApiKey,
    Application,
    Environment,
    Grant,
    KeyVersion,
    Member,
    ServiceToken,
    VendorAccount,
)
from rotation.engine import lifecycle
from rotation.models import Consumer, HumanTask, Reason, Rotation, RotationPolicy, WebhookDelivery

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
    Pages = Paginator[Any]
else:
    Base, Pages = admin.ModelAdmin, Paginator


MOST = 10_000


class CappedPaginator(Pages):
    """Counts no further than MOST rows: the whole of a big table would take minutes to count."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, or MOST."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST].count())


class ReadOnlyAdmin(Base):
    """Shows rows. Changes go through the console, the API or a command, which ask and record."""

    list_per_page = 50
    show_full_result_count = False
    paginator = CappedPaginator

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return that nothing is added here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return that nothing is changed here."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return that nothing is deleted here."""
        return False


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    """People, without their password digests."""

    list_display = ("email", "first_name", "is_active", "is_staff", "last_login")
    search_fields = ("email", "first_name", "last_name")
    fields = ("email", "first_name", "last_name", "is_active", "is_staff", "last_login")


@admin.register(Grant)
class GrantAdmin(ReadOnlyAdmin):
    """Who has which role where."""

    list_display = ("member", "role", "application", "environment", "expires_at")
    list_filter = ("role",)
    list_select_related = ("member", "application", "environment")


@admin.register(Environment, Application)
class PlaceAdmin(ReadOnlyAdmin):
    """Environments and applications."""

    search_fields = ("name",)


@admin.register(VendorAccount)
class AccountAdmin(ReadOnlyAdmin):
    """Vendor accounts, without the way to their credentials."""

    list_display = ("name", "provider", "base_url")
    fields = ("name", "provider", "base_url", "dashboard_url", "settings", "created_at")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """Keys."""

    list_display = ("name", "account", "environment", "application", "rotated_at")
    list_filter = ("account", "environment")
    list_select_related = ("account", "environment", "application")
    search_fields = ("name",)


@admin.register(KeyVersion)
class KeyVersionAdmin(ReadOnlyAdmin):
    """Versions, without fingerprints and without their place in Vault."""

    list_display = ("key", "number", "state", "tail", "created_at", "checked_at", "check_answer")
    list_filter = ("state",)
    list_select_related = ("key__account", "key__environment")
    exclude = ("fingerprint", "path")


@admin.register(ServiceToken)
class ServiceTokenAdmin(ReadOnlyAdmin):
    """Service tokens, without their digests; they can be ended from here."""

    actions = ("revoke",)

    @admin.action(description="Revoke these tokens for good")
    def revoke(self, request: HttpRequest, rows: Any) -> None:
        """End each token, as its page does."""
        for token in rows[:100]:
            try:
                tokens.revoke(cast(Member, request.user), token)
                messages.success(request, f"{token} is revoked.")
            except KeyServiceError as error:
                messages.error(request, f"{token}: {error.message}")

    list_display = ("name", "application", "environment", "last_used_at", "revoked_at")
    list_select_related = ("application", "environment")
    exclude = ("digest", "former_digest", "formers", "texts_used")


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The audit log, the newest first; the console's page searches it by indexes and by time."""

    list_display = ("seq", "at", "action", "outcome", "actor_label", "object_label")
    ordering = ("-seq",)
    exclude = ("prev", "hash")


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
        messages.success(request, f"Done for {done}.")


admin.site.unregister(ApiKey)


@admin.register(ApiKey)
class RotatableKeyAdmin(ApiKeyAdmin):
    """Keys, which can be rotated from here."""

    actions = ("rotate",)

    @admin.action(description="Rotate these keys (100 at most)")
    def rotate(self, request: HttpRequest, keys: Any) -> None:
        """Start a rotation of each, as its page does."""
        each(request, keys[:_MOST], lambda by, key: lifecycle.start(by, key, Reason.MANUAL))


@admin.register(Rotation)
class RotationAdmin(ReadOnlyAdmin):
    """Rotations and what they wait for."""

    actions = ("retry", "cancel")

    @admin.action(description="Try these again now")
    def retry(self, request: HttpRequest, rotations: Any) -> None:
        """Have each tried again, as its page does."""
        each(request, rotations[:_MOST], lifecycle.retry)

    @admin.action(description="Cancel these, where nothing was published yet")
    def cancel(self, request: HttpRequest, rotations: Any) -> None:
        """Cancel each, as its page does."""
        each(request, rotations[:_MOST], lifecycle.cancel)

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


@admin.register(WebhookDelivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Webhooks sent and to be sent."""

    list_display = ("event", "consumer", "state", "attempt", "sent_at", "last_error")
    list_filter = ("state",)
    list_select_related = ("consumer__application", "consumer__environment")
