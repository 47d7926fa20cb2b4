"""Numbers that people and programs write: read without a way to fail."""

# The largest that a row's id can be.
LARGEST = 2**63 - 1


def whole(text: str, most: int = LARGEST) -> int | None:
    """Return the whole number from 0 to `most` that the text writes in ASCII digits; None for others.

    Its length is looked at first: Python refuses to read thousands of digits, with an error.
    """
    # guard: digits are counted before they are read
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(most)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if number <= most else None
