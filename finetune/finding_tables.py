"""What was found of the probabilities, as rows of finished strings: calibration, decisions, points of curves.

Owns which of these figures stand in which table, and the sentences about them. How a figure is written is in `wording`. Every string is
plain text on one line.
"""

from collections.abc import Sequence

from finetune.anchors import name_place
from finetune.findings import CurvePoint, Decision
from finetune.records import Report, Score
from finetune.report_tables import Row, Table
from finetune.scores import pick
from finetune.wording import (
    count_of,
    format_count,
    format_range,
    format_score,
    format_score_value,
    main_predictor,
    metric_title,
    plain,
    write_score,
)

POINTS_SHOWN = 21
HOW_TO_READ_RELIABILITY = (
    "Points are bins: how often the predicted label was right against the probability that it was given, with Wilson's 95 % interval. "
    "On the dashed line a model is as often right as it says; above it the model is too modest, below it too sure."
)


def list_calibration_facts(report: Report) -> list[tuple[str, str]]:
    """Return how far the probabilities can be believed, in the usual figures."""
    if report.calibration is None:
        return []
    facts = [("predictor", plain(main_predictor(report)))] if len(report.seeds) > 1 else []
    for name in ("expected_calibration_error", "brier", "log_loss"):
        measured = pick(report.scores, name, predictor=main_predictor(report))
        if measured:
            facts.append((metric_title(name), write_score(measured)))
        elif name == "expected_calibration_error":
            facts.append((metric_title(name), format_score_value(report.calibration.error)))
    return [*facts, ("bins of the calibration error", plain(report.calibration.binning))]


def build_reliability_table(report: Report) -> Table:
    """Return what each bin of predicted probabilities holds, and how often the prediction was right there."""
    bins = report.calibration.bins if report.calibration else []
    rows = [
        Row(
            (
                format_range(entry.low, entry.high),
                format_count(entry.n),
                format_score_value(entry.confidence),
                format_score(entry.accuracy, entry.accuracy_low, entry.accuracy_high),
            ),
            anchor=name_place("bin", str(number)),
        )
        for number, entry in enumerate(bins, 1)
    ]
    return Table(
        "Probability of the predicted label against how often it was right",
        ("probability", "rows", "mean probability", "share right"),
        tuple(rows),
        "lrrl",
        "Brackets hold Wilson's 95 % interval of the share.",
        "reliability-table",
    )


def describe_calibration(report: Report) -> str:
    """Return calibration and decisions in one line, empty where neither was measured."""
    parts = []
    if report.calibration:
        parts.append(
            f"Calibration error {format_score_value(report.calibration.error)}, {plain(report.calibration.binning)}"
        )
    # The ensemble averages what each seed's own temperature made, and may have a threshold only.
    parts += [_describe_decision(report, decision) for decision in _list_decisions(report)[:1]]
    return "; ".join(parts) + "." if parts else ""


def _describe_decision(report: Report, decision: Decision) -> str:
    chosen = []
    if decision.temperature is not None:
        chosen.append(f"temperature {format_score_value(decision.temperature)}")
    if decision.threshold is not None:
        label = plain(report.data.labels[1]) if len(report.data.labels) > 1 else "the second label"
        chosen.append(f"threshold {format_score_value(decision.threshold)} for {label}")
    of_seed = "" if decision.predictor == main_predictor(report) else f" of {plain(decision.predictor)}"
    return f"{' and '.join(chosen)}{of_seed} chosen on {count_of(decision.dev_rows, 'dev row')}"


def _list_decisions(report: Report) -> list[Decision]:
    """Return the decisions that decide something."""
    return [entry for entry in report.decisions if entry.temperature is not None or entry.threshold is not None]


def build_decision_table(report: Report) -> Table:
    """Return what was fitted on dev to turn outputs into probabilities and labels."""

    def write(value: float | None) -> str:
        return "–" if value is None else format_score_value(value)

    rows = [
        Row(
            (
                plain(decision.predictor),
                write(decision.temperature),
                write(decision.threshold),
                plain(decision.chosen_for) or "–",
                format_count(decision.dev_rows),
            )
        )
        for decision in _list_decisions(report)
    ]
    return Table(
        "Decisions fitted on dev",
        ("predictor", "temperature", "threshold", "threshold chosen for", "dev rows"),
        tuple(rows),
        "lrrlr",
        "No test row had a part in them. A temperature divides the logits before they become probabilities (Guo et al. 2017); at a "
        "probability of at least the threshold the second label is predicted, otherwise the first.",
        "decisions",
    )


def build_undecided_table(report: Report) -> Table:
    """Return the scores with what was fitted on dev beside those without it."""
    rows = [
        Row(
            (
                metric_title(plainly.name),
                write_score(_decided(report, plainly)),
                write_score(plainly),
                format_count(plainly.n),
            )
        )
        for plainly in report.undecided
    ]
    return Table(
        "Scores with and without the decisions, all test rows",
        ("metric", "with", "without", "n"),
        tuple(rows),
        "lllr",
        "Without: temperature 1, and the most probable label is predicted.",
        "undecided",
    )


def _decided(report: Report, undecided: Score) -> Score | None:
    return pick(report.scores, undecided.name, predictor=main_predictor(report))


def describe_area(report: Report, metric: str) -> str:
    """Return the area under a curve with its interval, empty where it wasn't scored."""
    area = pick(report.scores, metric, predictor=main_predictor(report))
    return f"{metric_title(metric)} {write_score(area)}" if area else ""


def describe_curves(report: Report) -> str:
    """Return how the curves are to be read, empty where there are none."""
    if report.curves is None:
        return ""
    label = plain(report.curves.positive)
    whose = f" They are those of the {plain(main_predictor(report))}." if len(report.seeds) > 1 else ""
    return (
        f"Every threshold on the probability of {label} is a point of the curves. Dashed is what guessing gives: of all rows "
        f"{format_score_value(report.curves.prevalence)} are {label}. The ring is where the predicted labels stand.{whose}"
    )


def build_curve_tables(report: Report) -> list[Table]:
    """Return some points of the ROC curve and of the precision-recall curve, evenly spaced among those in the record."""
    if report.curves is None:
        return []
    return [
        _build_curve_table(
            "Points of the ROC curve", report.curves.roc, "false positive rate", "true positive rate", "roc"
        ),
        _build_curve_table(
            "Points of the precision-recall curve",
            report.curves.precision_recall,
            "recall",
            "precision",
            "precision-recall",
        ),
    ]


def _build_curve_table(caption: str, points: Sequence[CurvePoint], x: str, y: str, anchor: str) -> Table:
    last = len(points) - 1
    kept = sorted({round(number * last / (POINTS_SHOWN - 1)) for number in range(POINTS_SHOWN)}) if points else []
    rows = [
        Row((format_score_value(point.threshold), format_score_value(point.x), format_score_value(point.y)))
        for point in (points[number] for number in kept)
    ]
    return Table(caption, ("threshold", x, y), tuple(rows), "rrr", anchor=f"{anchor}-points")
