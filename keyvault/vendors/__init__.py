"""The registry: one line a vendor."""

from keyvault.vendors.base import Provider
from keyvault.vendors.influtics import Influtics
from keyvault.vendors.sandbox import Sandbox
from keyvault.vendors.sandbox_inplace import SandboxInPlace

PROVIDERS: dict[str, Provider] = {
    provider.code: provider
    for provider in (
        Influtics(),
        Sandbox(),
        SandboxInPlace(),
    )
}


def choices() -> list[tuple[str, str]]:
    """Return code and name of each vendor, for forms."""
    return [(provider.code, provider.name) for provider in PROVIDERS.values()]
