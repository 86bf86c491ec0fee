"""What was found beyond the scores, as rows of finished strings: slices that differ, calibration, decisions, points of curves.

Owns which of these figures stand in which table, and the sentences about them. Wrong answers are in `error_tables`, how a figure is
written in `wording`. Every string is plain text on one line.
"""

from collections.abc import Sequence

from finetune.anchors import name_place
from finetune.findings import CurvePoint, Decision, SliceTest
from finetune.records import Report, Score
from finetune.report_tables import Row, Table, explain_intervals, list_main_scores, list_score_columns, write_measured
from finetune.scores import pick
from finetune.wording import (
    count_of,
    find_rivals,
    format_count,
    format_difference,
    format_p,
    format_p_value,
    format_range,
    format_score,
    format_score_value,
    main_predictor,
    metric_title,
    plain,
    write_score,
)

POINTS_SHOWN = 21


def describe_slices(report: Report) -> list[str]:
    """Return which slices differ from the rest beyond noise, one sentence each, or that none does; nothing without tests."""
    tested = [test for test in report.slice_tests if test.p_adjusted is not None]
    if not tested:
        return ["No slice could be tested against the rest."] if report.slice_tests else []
    over = count_of(len(tested), "slice")
    flagged = [
        f"{_name_slice(test.slice)}: {format_score_value(abs(test.difference))} {'above' if test.difference > 0 else 'below'} the rest "
        f"({format_p_value(test.p_adjusted)} after correction over {over})"
        for test in tested
        if test.is_flagged and test.difference is not None
    ]
    return flagged or [f"No slice differs from the rest beyond noise (Holm's correction over {over})."]


def _split_name(slice_name: str) -> tuple[str, str]:
    """Return the kind of a slice, which its name begins with where it is a value of a column, and the rest of the name."""
    kind, mark, value = plain(slice_name).partition(": ")
    return (kind, value) if mark else ("–", kind)


def _name_slice(slice_name: str) -> str:
    kind, value = _split_name(slice_name)
    return value if kind == "–" else f"{kind} {value}"


def build_slice_table(report: Report) -> Table:
    """Return the primary metric on all rows, on each slice that differs beyond noise, then on each other slice."""
    tests = {test.slice: test for test in report.slice_tests}
    scores = [score for score in list_main_scores(report) if score.name == report.primary_metric]
    scores.sort(key=lambda score: (score.slice != "all", not _is_flagged(tests.get(score.slice))))
    has_kinds = any(_split_name(score.slice)[0] != "–" for score in scores)
    whole = tuple(rival.value for rival in find_rivals(report, report.primary_metric) if rival.value is not None)
    rows = []
    for score in scores:
        cells, figures = write_measured(report, score)
        kind, value = _split_name(score.slice)
        names = (value, kind) if has_kinds else (value,)
        tested = _write_test(tests.get(score.slice), score) if tests else ()
        rows.append(
            Row(
                (*names, *cells, *tested, format_count(score.n)),
                figures,
                whole if score.slice == "all" else (),
                is_flagged=_is_flagged(tests.get(score.slice)),
                anchor=name_place("slice", score.slice),
            )
        )
    named = ("slice", "kind") if has_kinds else ("slice",)
    compared = ("against the rest", "p", "p corrected") if tests else ()
    columns = (*named, *list_score_columns(report), *compared, "n")
    note = explain_intervals(report, scores)
    if tests:
        note += (
            " Against the rest: the score on the slice minus that on all other rows, with a two-sided permutation test; p corrected is "
            "Holm's, over all slices tested. A slice is marked where that is below 0.05."
        )
    return Table(
        f"{metric_title(report.primary_metric)} by slice",
        columns,
        tuple(rows),
        "l" * (len(columns) - len(compared) - 1) + "r" * len(compared) + "r",
        note,
        "every-slice",
        measured=len(named),
    )


def _is_flagged(test: SliceTest | None) -> bool:
    return test is not None and test.is_flagged


def _write_test(test: SliceTest | None, score: Score) -> tuple[str, str, str]:
    if test is None:
        return "–", "–", "–"
    if test.difference is None:
        # The reason stands beside it where the score is undefined for the same.
        return format_score(None, reason="" if test.reason == score.reason else test.reason), "–", "–"
    return format_difference(test.difference), format_p(test.p_value), format_p(test.p_adjusted)


def build_every_slice_table(report: Report) -> Table:
    """Return every metric on each slice."""
    scores = [score for score in list_main_scores(report) if score.slice != "all"]
    rows = [
        Row(
            (
                plain(score.slice),
                metric_title(score.name),
                *write_measured(report, score)[0],
                format_count(score.n),
            ),
            anchor=name_place("slice", score.slice, score.name),
        )
        for score in scores
    ]
    columns = ("slice", "metric", *list_score_columns(report), "n")
    return Table(
        "Every metric by slice",
        columns,
        tuple(rows),
        "l" * (len(columns) - 1) + "r",
        explain_intervals(report, scores),
        "every-slice-score",
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
        "Brackets hold Wilson's 95 % interval of the share. A model that can be believed is as often right as it says.",
        "reliability-table",
    )


def describe_calibration(report: Report) -> str:
    """Return calibration and decisions in one line, empty where neither was measured."""
    parts = []
    if report.calibration:
        parts.append(
            f"Calibration error {format_score_value(report.calibration.error)}, {plain(report.calibration.binning)}"
        )
    parts += [_describe_decision(report, report.decisions[0])] if report.decisions else []
    return "; ".join(parts) + "." if parts else ""


def _describe_decision(report: Report, decision: Decision) -> str:
    chosen = []
    if decision.temperature is not None:
        chosen.append(f"temperature {format_score_value(decision.temperature)}")
    if decision.threshold is not None:
        label = plain(report.data.labels[1]) if len(report.data.labels) > 1 else "the second label"
        chosen.append(f"threshold {format_score_value(decision.threshold)} for {label}")
    return f"{' and '.join(chosen)} chosen on {count_of(decision.dev_rows, 'dev row')}"


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
        for decision in report.decisions
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
