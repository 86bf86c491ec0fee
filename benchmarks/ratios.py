"""Ratios measured in interleaved rounds, and their table.

Owns how a baseline and ours become one line; what is measured belongs to each benchmark.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

Measure = Callable[[int], float]
"""Takes the number of a round, which chooses its rows, and returns seconds or megabytes of one side."""


@dataclass(frozen=True)
class Bar:
    """What a row promises, and what it hopes for; None where it only tells."""

    floor: float | None = None
    aim: float | None = None
    smaller_is_better: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table: the median of the rounds, the least and the most, and its bar."""

    row: str
    ratio: float
    low: float
    high: float
    floor: float | None
    aim: float | None
    smaller_is_better: bool

    @property
    def verdict(self) -> str:
        """Say whether the floor is missed, or the aim met."""
        sign = -1 if self.smaller_is_better else 1
        if self.floor is not None and sign * self.ratio < sign * self.floor:
            return "MISSED"
        return "aim met" if self.aim is not None and sign * self.ratio >= sign * self.aim else ""


def summarise(name: str, bar: Bar, ratios: Sequence[float]) -> Row:
    """Return the median of the ratios of all rounds, with the lowest and the highest."""
    median, low, high = (round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios)))
    return Row(name, median, low, high, bar.floor, bar.aim, bar.smaller_is_better)


def compare(name: str, bar: Bar, baseline: Measure, ours: Measure, rounds: int, warm_up: int = 1) -> Row:
    """Return baseline / ours, or ours / baseline where smaller is better, each side first in every other round.

    The first `warm_up` rounds don't count.
    """
    ratios = []
    for number in range(rounds + warm_up):
        sides = (baseline, ours) if number % 2 else (ours, baseline)
        taken = {side: side(number) for side in sides}
        ratio = taken[baseline] / taken[ours]
        ratios.append(1 / ratio if bar.smaller_is_better else ratio)
    return summarise(name, bar, ratios[warm_up:])


def show_rows(rows: Sequence[Row], title: str, unmeasured: dict[str, Bar]) -> None:
    """Print the table; what can't be measured here stands in it without a number."""
    table = Table("measured", "ratio", "low", "high", "floor", "aim", "", title=title)
    for row in rows:
        table.add_row(row.row, f"{row.ratio:.2f}", f"{row.low:.2f}", f"{row.high:.2f}", *_show_bar(row), row.verdict)
    for name, bar in unmeasured.items():
        table.add_row(name, "", "", "", *_show_bar(bar), "not yet measured")
    # Rich takes 80 columns for a file, which would break each name over many lines.
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _show_bar(bar: Row | Bar) -> tuple[str, str]:
    sign = "<= " if bar.smaller_is_better else ""
    floor, aim = ("" if value is None else f"{sign}{value:g}" for value in (bar.floor, bar.aim))
    return floor, aim
