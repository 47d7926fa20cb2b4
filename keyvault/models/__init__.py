"""The models of the keyvault app, one file a subject. No secret is in any of them."""

from keyvault.core.validators import name_field, plain_name
from keyvault.models.access import Grant, Member, Role
from keyvault.models.approvals import Approval, ApprovalRule
from keyvault.models.delivery import ServiceToken
from keyvault.models.disclosures import SecretDisclosure, TokenDisclosure, TokenKeyVersion
from keyvault.models.holds import KeyHold
from keyvault.models.inventory import (
    LIVE_STATES,
    PROVEN_LINKS,
    ApiKey,
    Application,
    Environment,
    KeyVersion,
    Link,
    VendorAccount,
    VersionState,
)
from keyvault.models.people import (
    DirectoryEntry,
    Group,
    Invitation,
    MemberSession,
    RateLimitCounter,
)
from keyvault.models.stored_secrets import OrphanedSecret

__all__ = [
    "LIVE_STATES",
    "PROVEN_LINKS",
    "ApiKey",
    "Application",
    "Approval",
    "ApprovalRule",
    "DirectoryEntry",
    "Environment",
    "Grant",
    "Group",
    "Invitation",
    "KeyHold",
    "KeyVersion",
    "Link",
    "Member",
    "MemberSession",
    "OrphanedSecret",
    "RateLimitCounter",
    "Role",
    "SecretDisclosure",
    "ServiceToken",
    "TokenDisclosure",
    "TokenKeyVersion",
    "VendorAccount",
    "VersionState",
    "name_field",
    "plain_name",
]
