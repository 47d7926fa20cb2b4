"""Read what a vendor says of the credits that are used up; only numbers that make sense count."""

from typing import Any

from keyvault.core.redaction import one_line


def used_of(summary: dict[str, Any]) -> dict[str, Any]:
    """Return plan and credits, where they are numbers that make sense; an unlimited plan has no total."""
    credits = summary.get("credits")
    said = credits if isinstance(credits, dict) else {}
    used, total = said.get("used"), said.get("total")
    if summary.get("is_unlimited") is True:
        total = None
    plan = summary.get("plan")
    return {
        "plan": one_line(plan, 60) if isinstance(plan, str) else "",
        "used": used if _is_count(used) else None,
        "total": total if _is_count(total) else None,
    }


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62
