"""Bar charts as numbers for SVG: pure functions over counts. The template draws them, with a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

# The drawing is 100 wide and 40 high in its own units; the template stretches it.
_HIGH = 40.0
_GAP = 0.25
Series = Sequence[tuple[str, str]]
Rows = Sequence[tuple[str, Sequence[int]]]


@dataclass(frozen=True)
class Part:
    """A piece of a bar: its tone, and where it stands."""

    tone: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One bar with its name and how much of what it holds."""

    label: str
    counts: list[int]
    parts: list[Part]

    @property
    def total(self) -> int:
        """Return how much the whole bar stands for."""
        return sum(self.counts)


@dataclass(frozen=True)
class Chart:
    """A chart: its title, what its tones mean, its bars, and the same in a sentence."""

    slug: str
    title: str
    series: list[tuple[str, str]]
    bars: list[Bar]
    text: str

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to draw."""
        return not any(bar.total for bar in self.bars)


def chart(slug: str, title: str, series: Series, rows: Rows) -> Chart:
    """Return a chart of bars; `series` gives each count of a row its word and its tone."""
    most = max((sum(counts) for _, counts in rows), default=0) or 1
    step = 100.0 / max(len(rows), 1)
    bars = [
        Bar(label, list(counts), _parts(number * step, step, counts, _HIGH / most, series))
        for number, (label, counts) in enumerate(rows)
    ]
    return Chart(slug, title, list(series), bars, _text(series, rows))


def each_alone(slug: str, title: str, counted: Sequence[tuple[str, str, int]]) -> Chart:
    """Return a chart with a bar for each (word, tone, count), in that tone."""
    series = [(word, tone) for word, tone, _ in counted]
    rows = [
        (word.capitalize(), [count if place == own else 0 for place in range(len(counted))])
        for own, (word, _, count) in enumerate(counted)
    ]
    return chart(slug, title, series, rows)


def _parts(x: float, step: float, counts: Sequence[int], unit: float, series: Series) -> list[Part]:
    parts, top = [], _HIGH
    for count, (_, tone) in zip(counts, series, strict=True):
        top -= count * unit
        if count:
            box = (x + step * _GAP / 2, top, step * (1 - _GAP), count * unit)
            parts.append(Part(tone, *(round(number, 2) for number in box)))
    return parts


def _text(series: Series, rows: Rows) -> str:
    totals = [sum(counts[place] for _, counts in rows) for place in range(len(series))]
    said = [f"{total} {word}" for total, (word, _) in zip(totals, series, strict=True)]
    most = max(rows, key=lambda row: sum(row[1]), default=None)
    peak = f"; the most at “{most[0]}”: {sum(most[1])}" if most and sum(most[1]) else ""
    return ", ".join(said) + peak + "."


def per_day(counts: Mapping[date, int], last: date, days: int) -> list[tuple[str, list[int]]]:
    """Return a row for each of the days up to `last`, also for those without anything."""
    shown = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return [(f"{day:%d %b}", [counts.get(day, 0)]) for day in shown]
