"""Compare a secret with what a vendor's list shows of it: its beginning, its end, or both."""

import re

from keyvault.core.secret import Secret

# What vendors write for the part that they do not show.
_HIDDEN = re.compile(r"\s*(?:\.{2,}|[…*•●·]+|[xX]{4,}|#{3,})\s*")
# So many shown characters at the end tell keys of one account apart; a common prefix does not.
_TELLING = 4
_LONGEST_HINT = 12


def fits(masked: str, secret: Secret) -> bool | None:
    """Return whether `masked` can be of this secret; None where it shows too little to say yes."""
    shown = masked.strip()
    parts = _HIDDEN.split(shown)
    if len(parts) == 1:
        return _hint(shown, secret)
    first, last = parts[0], parts[-1]
    plain = secret.reveal()
    if not (plain.startswith(first) and plain.endswith(last)):
        return False
    return True if len(last) >= _TELLING else None


def _hint(shown: str, secret: Secret) -> bool | None:
    """Judge a mask without dots: some vendors give the last characters, others the first alone."""
    if not shown or len(shown) > _LONGEST_HINT:
        return None
    plain = secret.reveal()
    if plain.endswith(shown):
        return True if len(shown) >= _TELLING else None
    return None if plain.startswith(shown) else False
