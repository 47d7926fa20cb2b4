"""Django's admin: everything can be looked at, and nothing is changed but by acts of the doors."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from keyvault import tokens
from keyvault.audit.models import AuditEvent
from keyvault.errors import KeyServiceError
from keyvault.models import (
    Account,
    ApiKey,
    Application,
    Environment,
    Grant,
    KeyVersion,
    Member,
    ServiceToken,
)

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


@admin.register(Account)
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
                messages.success(request, _("{token} is revoked.").format(token=token))
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
