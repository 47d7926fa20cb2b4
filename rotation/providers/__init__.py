"""The registry: one line a vendor."""

from rotation.providers.base import Provider
from rotation.providers.influtics import Influtics
from rotation.providers.sandbox import Sandbox
from rotation.providers.sandbox_inplace import SandboxInPlace

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
