"""Where the marks of the small pictures beside the scores of an HTML page stand: a dot, its interval, the baselines.

Owns their scales, in per cent of the width of a picture. Their looks are in the style sheet, the figures in `report_tables`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.records import Report, Score
from finetune.report_tables import Figures, Row, Table
from finetune.scores import pick
from finetune.wording import (
    find_rivals,
    find_summary,
    format_range,
    main_predictor,
    mean_interval,
    plain,
    write_score,
    write_summary,
)

STEPS = (0.05, 0.1, 0.2, 0.25, 0.5, *(step * 10**power for power in range(7) for step in (1.0, 2.0, 5.0)))


@dataclass(frozen=True)
class Strip:
    """A score as a dot on a line from its interval, with ticks for baselines; per cent of the width."""

    value: float | None
    low: float | None
    high: float | None
    ticks: tuple[float, ...] = ()
    dots: tuple[float, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One line of the comparison: who, the figure, the picture, and whether it is the run itself."""

    name: str
    figure: str
    strip: Strip
    kind: str


@dataclass(frozen=True)
class Scale:
    """The line of numbers from `low` to `high`."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return where a value stands, 0 to 100."""
        return round(100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 2)

    def strip(self, figures: Figures, ticks: Sequence[float] = (), dots: Sequence[float] = ()) -> Strip:
        """Return the places of a score, of the baselines and of single seeds."""
        value, low, high = (None if figure is None else self.place(figure) for figure in figures)
        return Strip(value, low, high, tuple(map(self.place, ticks)), tuple(map(self.place, dots)))

    def marks(self) -> list[tuple[float, str]]:
        """Return the (place, number) of four to eight round numbers."""
        step = next((step for step in STEPS if (self.high - self.low) / step <= 8), (self.high - self.low) / 4)
        first = int(-(-self.low // step))
        return [
            (self.place(number * step), f"{number * step:,.6g}") for number in range(first, int(self.high // step) + 1)
        ]


def _choose_scale(numbers: Sequence[float | None]) -> Scale:
    known = [number for number in numbers if number is not None]
    low, high = min(0.0, *known, 0.0), max(1.0, *known, 1.0)
    return Scale(low, high)


def draw_strips(table: Table, *, is_one_metric: bool) -> list[Strip | None]:
    """Return a strip for each row, all on one scale where they hold one metric."""

    def numbers(row: Row) -> list[float | None]:
        return [*(row.figures or ()), *row.ticks]

    together = _choose_scale([number for row in table.rows for number in numbers(row)])
    return [
        (together if is_one_metric else _choose_scale(numbers(row))).strip(row.figures, row.ticks)
        if row.figures and row.figures[0] is not None
        else None
        for row in table.rows
    ]


def build_forest(report: Report) -> dict[str, Any]:
    """Return the comparison of the run with its seeds, the baselines and the band, on one scale that fits them."""
    metric = report.primary_metric
    summary = find_summary(report, metric)
    main = pick(report.scores, metric, predictor=main_predictor(report))
    lines: list[tuple[str, str, Figures, tuple[float, ...], str]] = []
    if summary:
        lines.append(
            (
                f"mean of {summary.n} seeds",
                write_summary(summary),
                (summary.mean, *mean_interval(summary)),
                tuple(summary.values),
                "run",
            )
        )
    if main:
        lines.append((plain(main.predictor), write_score(main), _figures(main), (), "ensemble" if summary else "run"))
    lines += [
        (plain(rival.predictor), write_score(rival), _figures(rival), (), "baseline")
        for rival in find_rivals(report, metric)
    ]
    band = next((band for band in report.bands if (band.metric, band.slice) == (metric, "all")), None)
    known = [number for _, _, figures, dots, _ in lines for number in (*figures, *dots) if number is not None]
    known += [band.low, band.high] if band else []
    low, high = min([0.0, *known]), max([0.1, *known])
    scale = Scale(low - (0.04 * (high - low) if low < 0 else 0.0), high + 0.06 * (high - low))
    entries = [
        Entry(name, figure, scale.strip(figures, dots=dots), kind) for name, figure, figures, dots, kind in lines
    ]
    return {
        "entries": entries,
        "marks": scale.marks(),
        "band": (scale.place(band.low), scale.place(band.high)) if band else None,
        "band_text": f"expected band, {format_range(band.low, band.high, metric)}: the score is {band.verdict}"
        if band
        else "",
        "is_band_comparable": band is not None and band.verdict != "not comparable",
    }


def _figures(score: Score) -> Figures:
    return score.value, score.low, score.high
