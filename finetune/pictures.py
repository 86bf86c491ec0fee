"""The pictures of training and of errors as SVG text: the learning curve, the confusion matrix, predicted against expected numbers.

Owns their shapes; `svg` owns their colours and makes the text. Where a picture stands and what is said beside it is decided by `render`.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from finetune.findings import RegressionFindings
from finetune.records import Confusion, HistoryPoint
from finetune.svg import INK, LINE, MUTED, SERIES, render_figure, style_axes
from finetune.wording import begin_sentence, count_of, format_count, format_score_value, list_words, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 30
"""More classes than this can't be told apart in a matrix of printable size."""
MOST_CLASSES_WITH_COUNTS = 20
MOST_LABEL_CHARACTERS = 22
CURVE_WIDTH, PANEL_GAP = 640, 26
LEGEND_COLUMNS = 6
LOSSES_DESCRIBED = 12
SPARSE_POINTS = 20
SCATTER_SIDE, SMALLEST_POINT, LARGEST_POINT = 440, 14.0, 160.0
STRETCHES = 60
"""A longer curve of single batches is noise; it is drawn as the means of this many stretches."""
Lines = dict[int, list[tuple[float, float]]]

# Pixels. The strongest shade still leaves the counts on it readable, on white and on black.
CHARACTER_WIDTH, STRONGEST_SHADE = 6.2, 0.5


def draw_learning_curve(history: Sequence[HistoryPoint]) -> str:
    """Return training loss, and dev score where there is one, over the epochs: one line a seed, `CURVE_WIDTH` pixels wide."""
    losses, scores = _group(history, "loss"), _group(history, "dev_score")
    means, steps = _average_stretches(losses)
    loss_name = "training loss" if steps == 1 else f"training loss, mean of {steps} steps"
    panels = [(name, lines) for name, lines in ((loss_name, means), ("dev score", scores)) if any(lines.values())]
    seeds = len(losses)
    top = 34 + (18 * -(-seeds // LEGEND_COLUMNS) if seeds > 1 else 0)
    panel_height = 210 if len(panels) < 2 else 165

    def draw(figure: "Figure", width: int, height: int) -> None:
        above = None
        for number, (name, lines) in enumerate(panels):
            bottom = height - top - (number + 1) * panel_height - number * PANEL_GAP
            place = (58 / width, bottom / height, (width - 76) / width, panel_height / height)
            above = axes = figure.add_axes(place, sharex=above)
            _draw_lines(axes, name, lines)
            axes.tick_params(labelbottom=number == len(panels) - 1)
        if above is not None:
            above.set_xlabel("epoch", color=MUTED)
            _draw_legend(figure, above, seeds, 50 / width)

    height = top + 46 + max(len(panels), 1) * panel_height + PANEL_GAP * (len(panels) - 1)
    last = [format_score_value(points[-1][1]) for points in means.values() if points][:LOSSES_DESCRIBED]
    shown = begin_sentence(list_words([name for name, _ in panels])) or "Nothing logged"
    said = f"{shown} over epochs, {count_of(seeds, 'seed')}" + (f"; at the end {', '.join(last)}." if last else ".")
    return render_figure(draw, CURVE_WIDTH, height, "learning-curve", "Learning curve", said)


def _group(history: Sequence[HistoryPoint], name: Literal["loss", "dev_score"]) -> Lines:
    """Return {seed: (epoch, value) of each point that has one}, also of seeds that have none."""
    lines: Lines = {seed: [] for seed in sorted({point.seed for point in history})}
    for point in history:
        value = point.loss if name == "loss" else point.dev_score
        if value is not None:
            lines[point.seed].append((point.epoch, value))
    return lines


def _average_stretches(lines: Lines) -> tuple[Lines, int]:
    """Return the curves as means of stretches, and how many points a stretch holds; short curves stay as they are."""
    steps = max(1, max((len(points) for points in lines.values()), default=0) // STRETCHES)
    means: Lines = {}
    for seed, points in lines.items():
        stretches = [points[begin : begin + steps] for begin in range(0, len(points), steps)]
        means[seed] = [(fmean(epoch for epoch, _ in part), fmean(loss for _, loss in part)) for part in stretches]
    return means, steps


def _draw_legend(figure: "Figure", axes: "Axes", seeds: int, left: float) -> None:
    if seeds > 1:
        lines, names = axes.get_legend_handles_labels()
        figure.legend(
            lines,
            names,
            loc="upper left",
            bbox_to_anchor=(left, 1.0),
            ncols=min(seeds, LEGEND_COLUMNS),
            frameon=False,
            labelcolor=MUTED,
        )


def _draw_lines(axes: "Axes", name: str, lines: Lines) -> None:
    for number, (seed, points) in enumerate(lines.items()):
        # Beyond six seeds the colours come round again, so the dashes change.
        dashes = ("-", "--", ":", "-.")[number // len(SERIES) % 4]
        axes.plot(
            [epoch for epoch, _ in points],
            [value for _, value in points],
            color=SERIES[number % len(SERIES)],
            linestyle=dashes,
            linewidth=1.6 if len(lines) == 1 else 1.2,
            label=f"seed {seed}",
            marker="o" if len(points) <= SPARSE_POINTS else None,
            markersize=3.5,
        )
    axes.set_title(name, loc="left", color=INK, fontsize=12, pad=8)
    style_axes(axes)


def draw_confusion(confusion: Confusion) -> str:
    """Return the matrix of expected (rows) against predicted labels; a note for more than `MOST_CLASSES` of them.

    A cell is shaded by its share of the rows that have its expected label: blue where the prediction is right, orange else.
    """
    classes = len(confusion.labels)
    if classes > MOST_CLASSES:
        return _render_note(f"{classes} classes are too many to draw; the tables list the most frequent confusions.")
    names = [shorten(plain(label), MOST_LABEL_CHARACTERS) for label in confusion.labels]
    longest = max(len(name) for name in names) * CHARACTER_WIDTH
    cell = max(20.0, min(520 / classes, max(84.0, longest + 16) if classes < 4 else 84.0))
    is_turned = longest > cell - 6
    left, below = longest + 38, (longest if is_turned else 16) + 40
    side = cell * classes

    def draw(figure: "Figure", width: int, height: int) -> None:
        axes = figure.add_axes((left / width, below / height, side / width, side / height))
        axes.set_xlim(0, classes)
        axes.set_ylim(classes, 0)
        _fill_cells(axes, confusion.counts, 13 if classes < 8 else 10 if classes < 15 else 8)
        centres = [number + 0.5 for number in range(classes)]
        axes.set_xticks(centres, labels=names, rotation=90 if is_turned else 0, parse_math=False)
        axes.set_yticks(centres, labels=names, parse_math=False)
        axes.tick_params(length=0, pad=6, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.text((left + side / 2) / width, 8 / height, "predicted", ha="center", va="bottom", color=MUTED)
        figure.text(
            16 / width, (below + side / 2) / height, "expected", ha="center", va="center", rotation=90, color=MUTED
        )

    right = sum(confusion.counts[number][number] for number in range(classes))
    rows = sum(map(sum, confusion.counts))
    return render_figure(
        draw,
        round(left + side + 14),
        round(below + side + 14),
        "confusion",
        "Confusion matrix",
        f"{classes} classes, {format_count(rows)} rows, {format_count(right)} of them on the diagonal of right predictions.",
    )


def _fill_cells(axes: "Axes", counts: list[list[int]], font_size: int) -> None:
    from matplotlib.patches import Rectangle

    gap = 0.015 * len(counts) ** 0.5
    for expected, row in enumerate(counts):
        for predicted, count in enumerate(row):
            share = count / sum(row) if sum(row) else 0.0
            corner, size = (predicted + gap, expected + gap), 1 - 2 * gap
            axes.add_patch(Rectangle(corner, size, size, facecolor=LINE, alpha=0.35, linewidth=0))
            axes.add_patch(
                Rectangle(
                    corner,
                    size,
                    size,
                    facecolor=SERIES[0 if predicted == expected else 1],
                    linewidth=0,
                    alpha=round(STRONGEST_SHADE * share, 3),
                )
            )
            if len(counts) <= MOST_CLASSES_WITH_COUNTS and (count or len(counts) < 8):
                axes.text(
                    predicted + 0.5,
                    expected + 0.5,
                    format_count(count),
                    ha="center",
                    va="center",
                    color=INK,
                    fontsize=font_size,
                )


def draw_scatter(findings: RegressionFindings) -> str:
    """Return predicted (up) against expected numbers (across), with the line on which they agree; larger points are more rows."""
    points = findings.points
    numbers = [number for point in points for number in (point.expected, point.predicted)]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    margin = 0.04 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    most = max((point.n for point in points), default=1)
    hints = [
        f"expected {format_score_value(point.expected)}, predicted {format_score_value(point.predicted)}: "
        f"{count_of(point.n, 'row')}"
        for point in points
    ]

    def draw(figure: "Figure", width: int, height: int) -> None:
        axes = figure.add_axes((62 / width, 50 / height, (width - 80) / width, (height - 64) / height))
        axes.plot(ends, ends, color=MUTED, linewidth=1, linestyle="--")
        axes.scatter(
            [point.expected for point in points],
            [point.predicted for point in points],
            s=[
                SMALLEST_POINT + (LARGEST_POINT - SMALLEST_POINT) * (point.n - 1) / max(1, most - 1) for point in points
            ],
            color=SERIES[0],
            alpha=0.45,
            linewidth=0,
            gid="points",
        )
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_xlabel("expected", color=MUTED)
        axes.set_ylabel("predicted", color=MUTED)
        style_axes(axes, "both")

    rows = sum(point.n for point in points)
    said = f"{count_of(rows, 'row')}, from {format_score_value(low)} to {format_score_value(high)}."
    return render_figure(
        draw, SCATTER_SIDE, SCATTER_SIDE, "scatter", "Predicted against expected", said, {"points": hints}
    )


def _render_note(text: str) -> str:
    def draw(figure: "Figure", width: int, height: int) -> None:
        figure.text(14 / width, 0.5, text, va="center", color=MUTED)

    return render_figure(draw, 560, 44, "confusion", "Confusion matrix", text)
