"""The slices of a report as rows of finished strings: their scores, and which of them differ from the rest beyond noise.

Owns what is said of a slice and in which order slices stand. How a figure is written is in `wording`. Every string is plain text on one
line.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from finetune.anchors import name_place
from finetune.findings import SliceTest
from finetune.records import Report, Score
from finetune.report_tables import Row, Table, explain_intervals, list_main_scores, list_score_columns, write_measured
from finetune.wording import (
    count_of,
    find_rivals,
    find_summary,
    format_count,
    format_difference,
    format_p,
    format_p_value,
    format_score,
    format_score_value,
    main_predictor,
    metric_title,
    plain,
    write_summary,
)


def describe_slices(report: Report) -> list[str]:
    """Return which slices differ from the rest beyond noise, one sentence each, or that none does; nothing without tests."""
    tested = [test for test in report.slice_tests if test.p_adjusted is not None]
    if not tested:
        return ["No slice could be tested against the rest."] if report.slice_tests else []
    over = count_of(len(tested), "slice")
    metric = report.primary_metric
    flagged = [
        f"{_name_slice(test.slice)}: {format_score_value(abs(test.difference), metric)} "
        f"{'above' if test.difference > 0 else 'below'} the rest ({format_p_value(test.p_adjusted)} after correction over {over})"
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
        # A reason in every row would hide the figures; the note gives them together.
        cells, figures = write_measured(
            report, score.model_copy(update={"reason": ""}) if _lacks_interval(score) else score
        )
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
    note = explain_intervals(report, scores) + _explain_lacks(scores)
    if tests:
        note += (
            f" Against the rest: the score of the {plain(main_predictor(report))} on the slice minus that on all other rows, with a "
            "two-sided permutation test; p corrected is Holm's, over all slices tested. A slice is marked where that is below 0.05."
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


def _lacks_interval(score: Score) -> bool:
    return score.value is not None and (score.low is None or score.high is None) and bool(score.reason)


def _explain_lacks(scores: Sequence[Score]) -> str:
    reasons = Counter(plain(score.reason) for score in scores if _lacks_interval(score))
    return "".join(f" {count_of(count, 'figure')} without brackets: {reason}." for reason, count in reasons.items())


def _is_flagged(test: SliceTest | None) -> bool:
    return test is not None and test.is_flagged


def _write_test(test: SliceTest | None, score: Score) -> tuple[str, str, str]:
    if test is None:
        return "–", "–", "–"
    if test.difference is None:
        # The reason stands beside it where the score is undefined for the same.
        return format_score(None, reason="" if test.reason == score.reason else test.reason), "–", "–"
    return format_difference(test.difference, metric=score.name), format_p(test.p_value), format_p(test.p_adjusted)


def build_every_slice_tables(report: Report) -> list[Table]:
    """Return every metric on each slice: the means over seeds where there are several, then the scores of the main predictor."""
    scores = [score for score in list_main_scores(report) if score.slice != "all"]
    metrics = list(dict.fromkeys(score.name for score in scores))
    by_slice: dict[str, dict[str, Score]] = {}
    for score in scores:
        by_slice.setdefault(score.slice, {})[score.name] = score

    def build(prefix: str, anchor: str, caption: str, note: str, write: Callable[[Score | None], str]) -> Table:
        rows = [
            Row(
                (
                    plain(name),
                    *(write(found.get(metric)) for metric in metrics),
                    format_count(next(iter(found.values())).n),
                ),
                anchors=("", *(name_place(prefix, name, metric) for metric in metrics), ""),
            )
            for name, found in by_slice.items()
        ]
        columns = ("slice", *map(metric_title, metrics), "n")
        return Table(caption, columns, tuple(rows), "l" * (len(columns) - 1) + "r", note, anchor)

    note = explain_intervals(report, scores) + _explain_lacks(scores) + _explain_undefined(scores)
    whose = f", {plain(main_predictor(report))}" if report.seed_summaries else ""
    main = build("slice", "every-slice-score", f"Every metric by slice{whose}", note, _write_alone)
    if not report.seed_summaries:
        return [main]

    def write_mean(score: Score | None) -> str:
        summary = find_summary(report, score.name, score.slice) if score else None
        return write_summary(summary) if summary else "undefined"

    return [build("slice-mean", "every-slice-mean", "Every metric by slice, mean over seeds", "", write_mean), main]


def _write_alone(score: Score | None) -> str:
    """Return a score without its reason, which the note of its table gives."""
    return format_score(score.value, score.low, score.high, metric=score.name) if score else "–"


def _explain_undefined(scores: Sequence[Score]) -> str:
    reasons = Counter(plain(score.reason) for score in scores if score.value is None)
    return "".join(f" {count_of(count, 'figure')} undefined: {reason}." for reason, count in reasons.items())
