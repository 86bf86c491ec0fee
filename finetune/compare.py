"""Runs compared on the same rows: from their folders to the Comparison record.

Owns which metrics are compared, and the scores of each run. Two runs against each other are `compare_pairs`, what else is known of
them `compared_facts`; nothing is shown here (`render_comparison`). Imports no torch.
"""

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from finetune import metrics
from finetune.baseline_answers import WITHOUT_READING
from finetune.compare_pairs import MeasuredRun, conclude, measure_pair
from finetune.compared_facts import find_settings, list_warnings, name_runs
from finetune.compared_rows import Rows
from finetune.compared_runs import MatchedRun, MatchedRuns, match_runs
from finetune.comparison_records import ComparedRun, Comparison
from finetune.enough_rows import too_few_rows
from finetune.errors import DataError, UsageError, suggest
from finetune.machine import installed_versions
from finetune.metrics import METRICS, MetricValue
from finetune.paired_tests import holm
from finetune.records import Report, Score
from finetune.report import summarise_values
from finetune.resampling import Resampling, bootstrap_values, choose_resampling
from finetune.scores import ALL
from finetune.statistics import (
    Interval,
    bootstrap_intervals,
    percentile_interval,
)
from finetune.weighted_values import Values
from finetune.wording import count_of

RESAMPLES: Final = 2_000
RANDOMISATIONS: Final = 10_000
"""Of the verdict's metric, whose p-value has to bear more than those of the others."""
FEWEST_RESAMPLES: Final = 100
OF_ANY_TOKENS: Final = "bits_per_byte"
"""The one metric of language models that doesn't depend on how a tokenizer cuts the text."""


def compare_runs(
    paths: Sequence[Path],
    *,
    metric: str | None = None,
    intersection: bool = False,
    resamples: int = RESAMPLES,
    command: str | None = None,
) -> Comparison:
    """Return the comparison of the runs in `paths`, every one with every later one.

    The verdicts speak of `metric`, the first run's primary one where None is named.

    Raises:
        UsageError: fewer than two runs, the same one twice, an unknown metric, or too few resamples.
        MissingInputError: a path is no completed run, or a run lacks what an intersection needs.
        DataError: the runs have different labels or rows or no metric in common, or a folder holds something wrong.
    """
    if resamples < FEWEST_RESAMPLES:
        raise UsageError(f"--resamples: found {resamples}, allowed are {FEWEST_RESAMPLES} or more")
    matched = match_runs(paths, intersection=intersection)
    reports = [run.report for run in matched.runs]
    names, is_replaced = _choose_metrics(reports, metric, only=None if matched.has_same_tokens else OF_ANY_TOKENS)
    resampling = choose_resampling(matched.runs[0].main.strata, matched.groups)
    measured = _measure_runs(matched, names, resampling, resamples)
    randomisations = max(RANDOMISATIONS, resamples)
    pairs = [
        measure_pair(first, second, names, resampling, resamples, randomisations)
        for number, first in enumerate(measured)
        for second in measured[number + 1 :]
    ]
    tested = sum(pair.p_value is not None for pair in pairs)
    adjusted = holm([pair.p_value for pair in pairs])
    rows = Rows(matched.labels, matched.runs[0].rows, matched.texts)
    settings = find_settings([report.recipe for report in reports])
    return Comparison(
        metric=names[0],
        n=len(rows.ids),
        rows=matched.description,
        fingerprint=matched.fingerprint,
        labels=list(matched.labels),
        baselines=_list_baselines(reports, names, len(rows.ids)),
        resamples=resamples,
        randomisations=randomisations,
        resampling=resampling.description,
        runs=[
            _build_run(run, own, names, resampling, resamples, of_run)
            for run, own, of_run in zip(matched.runs, measured, settings, strict=True)
        ],
        pairs=[conclude(pair, p_value, tested, rows) for pair, p_value in zip(pairs, adjusted, strict=True)],
        warnings=list_warnings(reports, [run.name for run in measured], names[0] if is_replaced else None),
        command=command or shlex.join(sys.argv),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=installed_versions(),
    )


def _list_baselines(reports: Sequence[Report], names: Sequence[str], rows: int) -> list[Score]:
    """Return what answers that read nothing score on the same rows, where a run wasn't trained for its task; else none."""
    if all(report.recipe.get("train") is not None for report in reports):
        return []
    found = {}
    for score in (score for report in reports for score in report.baselines):
        if score.predictor in WITHOUT_READING and score.name in names and (score.slice, score.n) == (ALL, rows):
            found.setdefault((score.predictor, score.name), score)
    return list(found.values())


def _choose_metrics(
    reports: Sequence[Report], metric: str | None, *, only: str | None = None
) -> tuple[list[str], bool]:
    """Return the metrics that all runs report, that of the verdict first, and whether it replaces the first run's primary one.

    `only` is the one metric that the runs can be compared by, where there is one.
    """
    reported = [
        [score.name for score in report.scores if score.slice == "all" and only in (None, score.name)]
        for report in reports
    ]
    common = [name for name in dict.fromkeys(reported[0]) if name in METRICS and all(name in own for own in reported)]
    if not common and only is not None:
        raise DataError(
            "the runs predict other tokens of the same rows (tokenizers, masks or contexts differ), so that their losses per token "
            f"can't be compared, and not all of them report {only}"
        )
    if not common:
        raise DataError("the runs have no metric in common; nothing can be compared")
    if metric is not None and metric not in common:
        allowed = ", ".join(common)
        raise UsageError(f"--metric: not all runs report '{metric}', allowed are {allowed}{suggest(metric, common)}")
    wanted = metric or reports[0].primary_metric
    chosen = wanted if wanted in common else common[0]
    return [chosen, *(name for name in common if name != chosen)], chosen != wanted


def _measure_runs(
    matched: MatchedRuns, names: Sequence[str], resampling: Resampling, resamples: int
) -> list[MeasuredRun]:
    """Return every metric of every run, on the compared rows and on the same resamples of them."""
    by_run = [{name: [metrics.score(name, seed) for seed in run.seeds] for name in names} for run in matched.runs]
    # What one label only makes undefined is so for all.
    drawable = [name for name in names if any(value.value is not None for own in by_run for value in own[name])]
    drawn = bootstrap_values(drawable, [seed for run in matched.runs for seed in run.seeds], resampling, resamples)
    found, start = [], 0
    for run, name, own in zip(
        matched.runs,
        name_runs([run.path for run in matched.runs], [run.report.name for run in matched.runs]),
        by_run,
        strict=True,
    ):
        mean = {metric: _average(values, run.report) for metric, values in own.items()}
        defined = [metric for metric in names if mean[metric].value is not None]
        seeds = slice(start, start + len(run.seeds))
        values = {metric: tuple(value.value for value in own[metric] if value.value is not None) for metric in defined}
        resampled = {metric: drawn[metric][seeds] for metric in defined}
        found.append(MeasuredRun(name, run.seeds, run.main, values, mean, resampled))
        start = seeds.stop
    return found


def _average(values: Sequence[MetricValue], report: Report) -> MetricValue:
    """Return the mean over seeds; it is undefined where one of them is."""
    for seed, value in zip(report.seeds, values, strict=True):
        if value.value is None:
            return value if len(values) == 1 else MetricValue(None, f"seed {seed.seed}: {value.reason}")
    return MetricValue(sum(value.value or 0.0 for value in values) / len(values))


def _build_run(
    run: MatchedRun,
    measured: MeasuredRun,
    names: Sequence[str],
    resampling: Resampling,
    resamples: int,
    settings: dict[str, str],
) -> ComparedRun:
    """Return the record of one run."""
    intervals, drawn = _measure_intervals(run, measured, resampling, resamples)
    made = run.report.provenance
    return ComparedRun(
        name=measured.name,
        path=str(run.path),
        task=run.report.task,
        seeds=[seed.seed for seed in run.report.seeds],
        collapse=run.report.collapse,
        scores=[_build_score(name, measured, intervals, resampling) for name in names],
        seed_summaries=[
            summarise_values(
                name,
                ALL,
                measured.values[name],
                values if intervals[name].low is not None else None,
                resampling.units,
            )
            for name, values in drawn.items()
        ],
        settings=settings,
        checkpoint=made.checkpoint,
        parameters=made.parameters,
        train_seconds=made.train_seconds,
        tokens_per_second=made.tokens_per_second,
        peak_memory_megabytes=made.peak_memory_megabytes,
        device=made.device,
        processes=made.processes,
        threads=made.threads,
        precision=made.precision,
        notes=made.notes,
    )


def _measure_intervals(
    run: MatchedRun, measured: MeasuredRun, resampling: Resampling, resamples: int
) -> tuple[dict[str, Interval], dict[str, Values]]:
    """Return the interval over rows of each metric of one run, and each seed on resampled rows (seeds, resamples).

    They are drawn for the run alone, as its report draws them: for all runs together, counts come out in another order and an
    interval would end in another digit.
    """
    names = list(measured.resampled)
    if len(run.seeds) == 1:
        return bootstrap_intervals(names, run.main, resampling=resampling, resamples=resamples), {}
    counted = [name for name in names if METRICS[name].needs == "labels"]
    drawn = {**measured.resampled, **bootstrap_values(counted, run.seeds, resampling, resamples)}
    intervals = {}
    for name in names:
        reason = too_few_rows(name, run.main, resampling)
        intervals[name] = (
            Interval(None, None, reason=reason) if reason else percentile_interval(drawn[name].mean(axis=0))
        )
    return intervals, drawn


def _build_score(name: str, measured: MeasuredRun, intervals: dict[str, Interval], resampling: Resampling) -> Score:
    mean, count = measured.mean[name], len(measured.seeds)
    interval = intervals.get(name, Interval(None, None))
    return Score(
        name=name,
        predictor="model" if count == 1 else f"mean of {count_of(count, 'seed')}",
        value=mean.value,
        low=interval.low,
        high=interval.high,
        n=len(measured.main),
        higher_is_better=METRICS[name].higher_is_better,
        resampling=resampling.description,
        reason=mean.reason or interval.reason,
    )
