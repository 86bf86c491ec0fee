"""The headline of a report: its primary score, and how that stands to baselines and to the expected band.

Owns what counts as better, and the sentences that say so; the figures in them are written by `wording`.
"""

from dataclasses import dataclass
from typing import Literal

from finetune.metrics import METRICS
from finetune.paired_tests import LEVEL
from finetune.records import BandVerdict, Report, Score, SeedSummaryRecord
from finetune.scores import pick
from finetune.wording import (
    BEFORE_TRAINING,
    CHANCE,
    begin_sentence,
    count_of,
    find_rivals,
    find_summary,
    format_difference,
    format_p_value,
    format_range,
    has_classes,
    list_words,
    main_predictor,
    mean_interval,
    metric_title,
    name_collapse,
    name_predictor,
    plain,
    write_score,
    write_summary,
)

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Verdict:
    """One sentence on how the score stands, and whether that is good news."""

    tone: Tone
    text: str


@dataclass(frozen=True)
class Headline:
    """What a reader in a hurry gets.

    Attributes:
        score: the figure with its interval.
        value: the figure alone; `rest` is what follows it in `score`.
        ensemble: the sentence on the ensemble of seeds, empty for a single seed.
        sentence: all of it on one line.
    """

    metric: str
    score: str
    value: str
    rest: str
    rows: str
    ensemble: str
    verdicts: tuple[Verdict, ...]
    sentence: str


def build_headline(report: Report) -> Headline:
    """Return the headline: the primary metric on all test rows, and what it is worth."""
    main = pick(report.scores, report.primary_metric, predictor=main_predictor(report))
    summary = find_summary(report, report.primary_metric)
    rows = f"on {count_of(main.n, 'test row')}" if main else "on no test rows"
    rows += f" ({count_of(report.language.tokens, 'predicted token')})" if report.language else ""
    score, over = (
        (write_summary(summary), f" over {count_of(summary.n, 'seed')}") if summary else (write_score(main), "")
    )
    ensemble = (
        f"{begin_sentence(name_predictor(main.predictor))} scores {write_score(main)}."
        if summary and main and len(report.seeds) > 1
        else ""
    )
    verdicts = (*_judge_baselines(report, main, summary), *_judge_bands(report))
    value, _, rest = score.partition(" ")
    sentence = f"{metric_title(report.primary_metric)} {score}{over} {rows}: {'; '.join(_short_verdicts(report, main, summary))}."
    return Headline(
        metric_title(report.primary_metric),
        score,
        value,
        rest,
        f"{over.strip()} {rows}".strip(),
        ensemble,
        verdicts,
        sentence,
    )


def compare(
    value: float | None, low: float | None, high: float | None, rival: float | None, *, higher_is_better: bool
) -> tuple[Tone, str]:
    """Say how a score stands to a baseline it was not tested against; only an interval wholly on one side makes it clear."""
    if value is None or rival is None:
        return "open", "not comparable with"
    sign = 1 if higher_is_better else -1
    # An interval without width is that of a model which always answers alike: it makes nothing clear.
    ends = [sign * (end - rival) for end in (low, high) if end is not None and low != high]
    if len(ends) == 2 and min(ends) > 0:
        return "good", "clearly better than"
    if len(ends) == 2 and max(ends) < 0:
        return "bad", "clearly worse than"
    return ("open", "not clearly better than") if sign * (value - rival) > 0 else ("bad", "not better than")


def _stand(
    report: Report, main: Score | None, summary: SeedSummaryRecord | None, rival: Score
) -> tuple[Tone, str, str]:
    """Return how the score stands to a baseline, in words, and the difference behind them where it was tested."""
    value, low, high = (
        (summary.mean, *mean_interval(summary))
        if summary
        else (main.value, main.low, main.high)
        if main
        else (None,) * 3
    )
    test = next((test for test in report.rival_tests if test.predictor == rival.predictor), None)
    if test is None or test.difference is None or test.p_value is None:
        return *compare(value, low, high, rival.value, higher_is_better=rival.higher_is_better), ""
    difference = format_difference(test.difference, test.low, test.high, report.primary_metric)
    shown = f"{difference}, {format_p_value(test.p_value)}, {test.basis}"
    is_better = (test.difference > 0) == rival.higher_is_better and test.difference != 0
    if test.p_value < LEVEL:
        return ("good", "clearly better than", shown) if is_better else ("bad", "clearly worse than", shown)
    return ("open", "not clearly better than", shown) if is_better else ("bad", "not better than", shown)


def _judge_baselines(report: Report, main: Score | None, summary: SeedSummaryRecord | None) -> list[Verdict]:
    found = []
    for rival in find_rivals(report, report.primary_metric):
        tone, words, difference = _stand(report, main, summary, rival)
        shown = f"; difference {difference}" if difference else ""
        name = plain(rival.predictor)
        who = name_predictor(name) if name in (BEFORE_TRAINING, CHANCE) else f"the baseline {name}"
        found.append(Verdict(tone, f"{begin_sentence(words)} {who}, {write_score(rival)}{shown}."))
    return found or [Verdict("open", "No baseline was scored.")]


def describe_band(band: BandVerdict) -> str:
    """Return which scores a band allows."""
    where = "all rows" if band.slice == "all" else plain(band.slice)
    return f"{metric_title(band.metric)} on {where}, {format_range(band.low, band.high, band.metric)}"


def _judge_bands(report: Report) -> list[Verdict]:
    found = []
    for band in report.bands:
        higher_is_better = METRICS[band.metric].higher_is_better if band.metric in METRICS else True
        tones: dict[str, Tone] = {
            "within": "good",
            "above": "good" if higher_is_better else "bad",
            "below": "bad" if higher_is_better else "good",
            "not comparable": "open",
        }
        words = "Not comparable with" if band.verdict == "not comparable" else band.verdict.capitalize()
        reason = f": {plain(band.reason)}" if band.reason else ""
        source = f". Source: {plain(band.source)}" if band.source else "."
        found.append(Verdict(tones[band.verdict], f"{words} the expected band ({describe_band(band)}){reason}{source}"))
    return found or [Verdict("open", "The recipe names no expected band.")]


def _short_verdicts(report: Report, main: Score | None, summary: SeedSummaryRecord | None) -> list[str]:
    """Return the few words on each of baselines and band that end the one-line verdict."""
    collapsed = [seed for seed in report.seeds if seed.collapsed_to is not None]
    found = []
    if collapsed:
        found.append(
            f"the model {'predicts one class only' if has_classes(report) else 'says the same of every row'}"
            if len(report.seeds) == 1
            else f"{len(collapsed)} of {count_of(len(report.seeds), 'seed')} collapsed to one {name_collapse(report)}"
        )
    by_standing: dict[str, list[str]] = {}
    for rival in find_rivals(report, report.primary_metric):
        by_standing.setdefault(_stand(report, main, summary, rival)[1], []).append(name_predictor(rival.predictor))
    found += [f"{words} {list_words(names)}" for words, names in by_standing.items()]
    bands = [band for band in report.bands if band.metric == report.primary_metric and band.slice == "all"]
    found += [
        f"{band.verdict}{' with' if band.verdict == 'not comparable' else ''} the expected band" for band in bands
    ]
    return found or ["nothing to compare it with"]
