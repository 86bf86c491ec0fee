"""The tables of a comparison as rows of finished strings, the same for HTML, Markdown and the terminal.

Owns which figures stand in which row and column; tables of single rows of the data are `compared_row_tables`. How a figure is written
is in `wording`, what is said around the tables in `comparison_sentences`, how a table looks in `render_comparison`. Every string that
leaves this module is plain text on one line.
"""

from typing import Final

from finetune.anchors import name_place
from finetune.comparison_records import ComparedRun, Comparison, MetricDifference, PairComparison
from finetune.comparison_sentences import title_pair
from finetune.records import Score
from finetune.report_tables import Figures, Row, Table
from finetune.scores import pick
from finetune.wording import (
    NOT_MEASURED,
    count_of,
    format_count,
    format_difference,
    format_p,
    format_score_value,
    format_seconds,
    list_words,
    metric_title,
    plain,
    write_score,
    write_summary,
)

NOT_TESTED: Final = "–"


def build_score_table(comparison: Comparison) -> Table:
    """Return every metric of every run on the compared rows."""
    rows, baselines = [], list(dict.fromkeys(score.predictor for score in comparison.baselines))
    for number, score in enumerate(comparison.runs[0].scores):
        title = metric_title(score.name) + ("" if score.higher_is_better else " ↓")
        cells = [write_run_score(run, run.scores[number]) for run in comparison.runs]
        cells += [write_score(pick(comparison.baselines, score.name, predictor=name)) for name in baselines]
        rows.append(Row((title, *cells), anchor=name_place("score", score.name)))
    several = [run for run in comparison.runs if len(run.seeds) > 1]
    note = "Brackets hold 95 % bootstrap intervals over the rows, for the models as they were trained."
    if several:
        note = (
            f"{note} Of {list_words([plain(run.name) for run in several])} the mean over seeds ± their standard deviation is "
            "shown; its brackets have seeds and rows as sources."
        )
    columns = ("metric", *(plain(run.name) for run in comparison.runs), *map(plain, baselines))
    caption = f"Every metric on the {count_of(comparison.n, 'row')}"
    note = f"{note} Of a metric with ↓, less is better."
    return Table(caption, columns, tuple(rows), "l" * len(columns), note, anchor="table-scores")


def build_metric_table(comparison: Comparison) -> Table:
    """Return the verdict's metric of every run, and of the best constant answer."""
    rows = [
        Row((plain(run.name), write_run_score(run, run.scores[0]), list_words([str(seed) for seed in run.seeds])))
        for run in comparison.runs
    ]
    rows += [
        Row((plain(score.predictor), write_score(score), "none"))
        for score in comparison.baselines
        if score.name == comparison.metric
    ]
    title = metric_title(comparison.metric)
    return Table(f"{title} of every run", ("run", title, "seeds"), tuple(rows), "lll")


def write_run_score(run: ComparedRun, score: Score) -> str:
    """Return a score of a run, with its spread where there are several seeds."""
    summary = next((entry for entry in run.seed_summaries if entry.name == score.name), None)
    return write_summary(summary) if summary is not None else write_score(score)


def build_verdict_table(comparison: Comparison) -> Table:
    """Return the verdict's metric for every pair."""
    rows = [
        Row(
            (
                title_pair(pair),
                write_difference(pair, pair.differences[0]),
                _write_p(pair.p_value),
                _write_p(pair.p_adjusted),
                pair.test,
                _write_detectable(pair, pair.differences[0]),
            ),
            is_flagged=pair.better != "neither",
            anchor=name_place("verdict", pair.first, pair.second),
        )
        for pair in comparison.pairs
    ]
    columns = ("pair", "difference", "p", "p, corrected", "test", "could be shown")
    caption = f"{metric_title(comparison.metric)} of every pair"
    return Table(caption, columns, tuple(rows), "llrrlr", anchor="table-verdicts")


def figures_of(pair: PairComparison, difference: MetricDifference) -> Figures:
    """Return a difference with the interval of the test that the verdict rests on."""
    if pair.test == "seeds and rows" and difference.seeds_low is not None:
        return difference.difference, difference.seeds_low, difference.seeds_high
    return difference.difference, difference.low, difference.high


def write_difference(pair: PairComparison, difference: MetricDifference) -> str:
    """Return the text of a difference, with the interval of the test that the verdict rests on, or why it has none."""
    value, low, high = figures_of(pair, difference)
    reason = plain(difference.reason)
    if value is None:
        return f"undefined ({reason})" if reason else "undefined"
    return format_difference(value, low, high, difference.metric) + (
        f" (no interval: {reason})" if reason and low is None else ""
    )


def _write_detectable(pair: PairComparison, difference: MetricDifference) -> str:
    value = difference.seeds_detectable if pair.test == "seeds and rows" else difference.detectable
    return NOT_TESTED if value is None else format_score_value(value, difference.metric)


def _write_p(value: float | None) -> str:
    return NOT_TESTED if value is None else format_p(value)


def _write_value(value: float | None, metric: str) -> str:
    return "undefined" if value is None else format_score_value(value, metric)


def build_difference_table(pair: PairComparison) -> Table:
    """Return how far two runs are apart on every metric, with every test."""
    is_over_seeds = pair.test == "seeds and rows"
    has_randomisation = any(entry.p_randomisation is not None for entry in pair.differences)
    rows = []
    for entry in pair.differences:
        cells = [
            metric_title(entry.metric) + ("" if entry.higher_is_better else " ↓"),
            write_difference(pair, entry),
            _write_value(entry.first, entry.metric),
            _write_value(entry.second, entry.metric),
        ]
        cells += [_write_p(entry.p_seeds)] if is_over_seeds else []
        cells += [_write_p(entry.p_randomisation)] if has_randomisation else []
        cells += [_write_p(entry.p_bootstrap), _write_detectable(pair, entry)]
        rows.append(
            Row(
                tuple(cells),
                figures_of(pair, entry),
                anchor=name_place("difference", pair.first, pair.second, entry.metric),
            )
        )
    columns = ["metric", "difference", plain(pair.first), plain(pair.second)]
    columns += ["p, seeds and rows"] if is_over_seeds else []
    columns += ["p, randomisation"] if has_randomisation else []
    columns += ["p, bootstrap", "could be shown"]
    sources = "seeds and rows" if is_over_seeds else "rows, for the models as they were trained"
    return Table(
        f"{title_pair(pair)}, every metric",
        tuple(columns),
        tuple(rows),
        "ll" + "r" * (len(columns) - 2),
        f"Brackets hold 95 % intervals over {sources}.",
        anchor=name_place("differences", pair.first, pair.second),
    )


def build_cost_table(comparison: Comparison) -> Table:
    """Return size, time, speed and memory of every run."""

    def rate(value: float | None) -> str:
        return NOT_MEASURED if value is None else f"{value:,.1f}"

    facts = {
        "task": [plain(run.task) for run in comparison.runs],
        "checkpoint": [plain(run.checkpoint) for run in comparison.runs],
        "parameters": [format_count(run.parameters) for run in comparison.runs],
        "seeds": [list_words([str(seed) for seed in run.seeds]) for run in comparison.runs],
        "training, all seeds": [
            format_seconds(run.train_seconds) if run.train_seconds else "none" for run in comparison.runs
        ],
        "tokens per second": [rate(run.tokens_per_second) for run in comparison.runs],
        "peak memory": [f"{run.peak_memory_megabytes:,.0f} MB" for run in comparison.runs],
        "device": [plain(run.device) for run in comparison.runs],
        "processes, threads each": [f"{run.processes}, {run.threads}" for run in comparison.runs],
        "precision": [plain(run.precision) for run in comparison.runs],
        "loading": ["; ".join(map(plain, run.notes)) or "nothing to note" for run in comparison.runs],
    }
    rows = [
        Row((name, *cells), anchor=name_place("cost", name.partition(",")[0].replace(" ", "-")))
        for name, cells in facts.items()
    ]
    columns = ("fact", *(plain(run.name) for run in comparison.runs))
    return Table(
        "Size, time and machine of every run",
        columns,
        tuple(rows),
        "l" * len(columns),
        anchor="table-cost",
        is_sortable=False,
    )


def build_setting_table(comparison: Comparison) -> Table:
    """Return the values of the recipes that are not the same in all runs."""
    rows = [
        Row(
            (plain(key), *(plain(run.settings.get(key, NOT_TESTED)) for run in comparison.runs)),
            anchor=name_place("setting", key),
        )
        for key in comparison.runs[0].settings
    ]
    columns = ("setting", *(plain(run.name) for run in comparison.runs))
    return Table(
        "Settings that are not the same in all runs",
        columns,
        tuple(rows),
        "l" * len(columns),
        anchor="table-settings",
        is_sortable=False,
    )
