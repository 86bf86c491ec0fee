"""The pictures of probabilities as SVG text: the reliability diagram, the ROC curve, the precision-recall curve.

Owns their shapes and what a mark says under the pointer; `svg` owns their colours and makes the text. Where a picture stands and what is
said beside it is decided by `render`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.findings import Calibration, Confusion, CurvePoint, Curves
from finetune.svg import INK, LINE, MUTED, SERIES, SURFACE, render_figure, style_axes
from finetune.wording import count_of, format_count, format_range, format_score, format_score_value, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELIABILITY_WIDTH, RELIABILITY_HEIGHT = 440, 440
CURVE_WIDTH, CURVE_HEIGHT = 470, 430
Point = tuple[float, float]


def draw_reliability(calibration: Calibration) -> str:
    """Return how often the predicted label was right against its mean probability, a bin a point, above the rows of each bin."""
    bins = calibration.bins
    start = min((entry.low for entry in bins), default=0.0)
    floor = math.floor(10 * min([start, *(entry.accuracy_low for entry in bins)])) / 10
    hints = [
        f"{format_range(entry.low, entry.high)}: {count_of(entry.n, 'row')}, mean probability {format_score_value(entry.confidence)}, "
        f"share right {format_score(entry.accuracy, entry.accuracy_low, entry.accuracy_high)}"
        for entry in bins
    ]

    def draw(figure: "Figure", width: int, height: int) -> None:
        upper = figure.add_axes((62 / width, 150 / height, (width - 80) / width, (height - 164) / height))
        upper.plot((start, 1), (start, 1), color=MUTED, linewidth=1, linestyle="--")
        centres, shares = [entry.confidence for entry in bins], [entry.accuracy for entry in bins]
        whiskers = [entry.accuracy_low for entry in bins], [entry.accuracy_high for entry in bins]
        upper.vlines(centres, *whiskers, color=SERIES[0], linewidth=1.6)
        upper.plot(
            centres, shares, "o", color=SERIES[0], markersize=7, markeredgecolor=SURFACE, gid="bins", clip_on=False
        )
        upper.set_ylabel("share right", color=MUTED)
        _set_limits(upper, (start, 1.0), (floor, 1.0))
        upper.tick_params(labelbottom=False)
        lower = figure.add_axes((62 / width, 50 / height, (width - 80) / width, 74 / height), sharex=upper)
        for number, entry in enumerate(bins):
            lower.bar(
                (entry.low + entry.high) / 2,
                entry.n,
                0.9 * (entry.high - entry.low),
                color=SERIES[0],
                alpha=0.35,
                gid=f"rows-{number}",
            )
            middle = (entry.low + entry.high) / 2
            lower.annotate(
                format_count(entry.n),
                (middle, entry.n),
                (0, 3),
                textcoords="offset points",
                ha="center",
                color=MUTED,
                fontsize=9,
            )
        lower.set_ylim(0, 1.3 * max((entry.n for entry in bins), default=1))
        lower.set_yticks([])
        lower.set_ylabel("rows", color=MUTED)
        lower.set_xlabel("probability of the predicted label", color=MUTED)
        style_axes(lower)

    rows = sum(entry.n for entry in bins)
    said = f"{count_of(rows, 'row')} in {count_of(len(bins), 'bin')}; calibration error {format_score_value(calibration.error)}."
    marks = {"bins": hints, **{f"rows-{number}": [hint] for number, hint in enumerate(hints)}}
    return render_figure(draw, RELIABILITY_WIDTH, RELIABILITY_HEIGHT, "reliability", "Reliability diagram", said, marks)


def draw_roc(curves: Curves, area: str, confusion: Confusion | None) -> str:
    """Return the true against the false positive rate at every threshold; `area` is what is written above, may be empty."""
    rates = _operate(confusion)
    at = None if rates is None else (rates["false positive rate"], rates["recall"])
    return _draw_curve(
        "roc-curve",
        "ROC curve",
        area,
        curves.roc,
        ("false positive rate", "true positive rate"),
        ((0, 0), (1, 1)),
        at,
        curves,
    )


def draw_precision_recall(curves: Curves, area: str, confusion: Confusion | None) -> str:
    """Return precision against recall at every threshold; `area` is what is written above, may be empty."""
    rates = _operate(confusion)
    at = None if rates is None or "precision" not in rates else (rates["recall"], rates["precision"])
    guessing = ((0, curves.prevalence), (1, curves.prevalence))
    names = ("recall", "precision")
    return _draw_curve(
        "precision-recall-curve", "Precision-recall curve", area, curves.precision_recall, names, guessing, at, curves
    )


def _operate(confusion: Confusion | None) -> dict[str, float] | None:
    """Return where the labels that were in fact predicted stand on the curves; None where a rate has no rows."""
    if confusion is None or len(confusion.labels) != 2:
        return None
    (true_negative, false_positive), (false_negative, true_positive) = confusion.counts
    if not (true_negative + false_positive and false_negative + true_positive):
        return None
    rates = {
        "false positive rate": false_positive / (true_negative + false_positive),
        "recall": true_positive / (false_negative + true_positive),
    }
    predicted = true_positive + false_positive
    return {**rates, "precision": true_positive / predicted} if predicted else rates


def _draw_curve(
    name: str,
    title: str,
    area: str,
    points: Sequence[CurvePoint],
    axis_names: tuple[str, str],
    guessing: tuple[Point, Point],
    at: Point | None,
    curves: Curves,
) -> str:
    hints = [
        f"threshold {format_score_value(point.threshold)}: {axis_names[0]} {format_score_value(point.x)}, "
        f"{axis_names[1]} {format_score_value(point.y)}"
        for point in points
    ]
    guessed = f": {axis_names[1]} {format_score_value(curves.prevalence)}" if guessing[0][1] else ""
    marks = {"points": hints, "guessing": [f"guessing{guessed}"]}
    if at:
        marks["at"] = [
            f"as predicted: {axis_names[0]} {format_score_value(at[0])}, {axis_names[1]} {format_score_value(at[1])}"
        ]

    def draw(figure: "Figure", width: int, height: int) -> None:
        axes = figure.add_axes((62 / width, 50 / height, (width - 80) / width, (height - 88) / height))
        axes.plot(*zip(*guessing, strict=True), color=MUTED, linewidth=1, linestyle="--", gid="guessing")
        across, up = [point.x for point in points], [point.y for point in points]
        axes.plot(across, up, color=SERIES[0], linewidth=1.8, clip_on=False)
        # Unseen until the pointer is over them.
        axes.plot(across, up, "o", color=SERIES[0], alpha=0, markersize=9, gid="points", clip_on=False)
        if at:
            axes.plot(
                *at,
                "o",
                color=SURFACE,
                markeredgecolor=SERIES[1],
                markeredgewidth=2,
                markersize=9,
                gid="at",
                clip_on=False,
            )
        axes.set_xlabel(axis_names[0], color=MUTED)
        axes.set_ylabel(axis_names[1], color=MUTED)
        axes.set_title(area or title, loc="left", color=INK, fontsize=12, pad=10, parse_math=False)
        _set_limits(axes, (0.0, 1.0), (0.0, 1.0))

    said = f"Positive label {plain(curves.positive)}, {format_score_value(curves.prevalence)} of the rows. {area or title}."
    return render_figure(draw, CURVE_WIDTH, CURVE_HEIGHT, name, title, said, marks)


def _set_limits(axes: "Axes", across: Point, up: Point) -> None:
    axes.set_xlim(*across)
    axes.set_ylim(*up)
    style_axes(axes, "both")
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(LINE)
