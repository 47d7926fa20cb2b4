"""What is measured, and how a line of the result reads."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class Figure:
    """One measured thing; `goal` is what `ratio` should be at least (or `value`, without a ratio).

    With `most` it is what it should be at most.
    """

    name: str
    value: float
    unit: str
    ratio: float | None
    goal: float
    most: bool = False

    @property
    def ok(self) -> bool:
        """Return whether the goal was reached."""
        reached = self.value if self.ratio is None else self.ratio
        return reached <= self.goal if self.most else reached >= self.goal

    def line(self) -> str:
        """Return the line that is printed."""
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        word = "ok" if self.ok else "short"
        return f"{self.name} {self.value:.2f} {self.unit} {ratio} {self.goal:g} {word}"


def summary(name: str, words: Mapping[str, int]) -> str:
    """Return the last line of a run: how many figures were ok or short, and what failed."""
    return f"{name}: " + ", ".join(
        f"{words.get(word, 0)} {word}" for word in ("ok", "short", "failed")
    )


def middle(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]
