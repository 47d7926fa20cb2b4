"""Every way in which Vault can fail, as one of our errors."""

from typing import Any

from keyvault.core.errors import Conflict, KeyServiceError, Unavailable


class StoreUnavailable(Unavailable):
    """Vault is sealed, down, slow or overloaded; nothing can be said about any secret."""

    code = "vault_unavailable"


class StoreDenied(KeyServiceError):
    """Vault refuses our role this path: a policy must be mended by a person."""

    code, status = "vault_denied", 503


class StoreMissing(KeyServiceError):
    """Vault answers that nothing was ever written at this path."""

    code, status = "vault_missing", 503


class StoreDeleted(StoreMissing):
    """The secret at this path was deleted or destroyed in Vault."""

    code = "vault_deleted"


class StoreConflict(Conflict):
    """The path holds a value already: another worker, or an earlier try of ours, was first."""

    code = "vault_conflict"


class StoreExpires(StoreDenied):
    """Vault took the secret and will delete it by itself: a setting there must be mended."""

    code = "vault_expires"


def missing(error: Any) -> StoreMissing:
    """Return what Vault's 404 means, given the client's error."""
    if "deletion_time" in str(error.text or error.json or ""):
        return StoreDeleted("The secret was deleted or destroyed in Vault. A rotation replaces it.")
    return StoreMissing("Vault has nothing at the path of this secret. A rotation replaces it.")


def invalid(error: Any) -> KeyServiceError:
    """Return what Vault's 400 means, given the client's error."""
    if "check-and-set" in str(error.text or ""):
        return StoreConflict("The path in Vault holds a value already.")
    return StoreUnavailable("Vault refused the request as malformed; nothing was written.")
