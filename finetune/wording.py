"""The words and figures of a report: every string that its HTML, its Markdown and the terminal show alike.

Owns how numbers are written, what is said of a score, and the headline. Which strings make up which table is in `report_tables`,
what markup surrounds them in `render`.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from finetune.metrics import METRICS
from finetune.records import BandVerdict, Report, Score, SeedSummaryRecord
from finetune.scores import pick

Tone = Literal["good", "bad", "open"]
NOT_MEASURED = "not measured"
SMALLEST_P = 1e-6
"""No number of resamples that anybody draws tells smaller p-values apart."""
# They reorder or hide the text around them, so that what is read is not what is there.
DIRECTION_CHARACTERS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def visible(text: str) -> str:
    """Return text of the data with its lines: control and direction characters, which act on what is around them, become spaces."""
    return "".join(
        " "
        if character in DIRECTION_CHARACTERS
        or (unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character != "\n")
        else character
        for character in text
    )


def plain(text: str) -> str:
    """Return text of the data on one line, and otherwise as `visible` does."""
    return " ".join(visible(text).split())


def shorten(text: str, length: int) -> str:
    """Return text of at most `length` characters, with an ellipsis where some are left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def format_score_value(value: float) -> str:
    """Return a score with three decimals, never as minus zero."""
    text = f"{value:.3f}"
    return "0.000" if text == "-0.000" else text


def format_range(low: float, high: float) -> str:
    """Return an interval."""
    return f"{format_score_value(low)} to {format_score_value(high)}"


def format_score(value: float | None, low: float | None = None, high: float | None = None, reason: str = "") -> str:
    """Return a value with its interval, or why there is none."""
    if value is None:
        return f"undefined ({plain(reason)})" if reason else "undefined"
    if low is None or high is None:
        return format_score_value(value) + (f" (no interval: {plain(reason)})" if reason else "")
    return f"{format_score_value(value)} ({format_range(low, high)})"


def format_signed(value: float) -> str:
    """Return a difference with three decimals and its sign, which zero has none of."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("-0.000", "+0.000") else text


def format_difference(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a difference with its interval where there is one, each figure with its sign."""
    if value is None:
        return "undefined"
    if low is None or high is None:
        return format_signed(value)
    return f"{format_signed(value)} ({format_signed(low)} to {format_signed(high)})"


def format_p(p: float | None) -> str:
    """Return a p-value for a column of them: three decimals, or one significant digit below 0.001."""
    if p is None:
        return "undefined"
    if p < SMALLEST_P:
        return "< 1e-6"
    return f"{p:.3f}" if p >= 0.001 else f"{float(f'{p:.0e}'):.6f}".rstrip("0")


def format_p_value(p: float | None) -> str:
    """Return a p-value for a sentence, such as `p = 0.031`."""
    text = format_p(p)
    return f"p {text}" if p is None or p < SMALLEST_P else f"p = {text}"


def write_score(score: Score | None) -> str:
    """Return the text of a score, a dash where it was not asked for."""
    return format_score(score.value, score.low, score.high, score.reason) if score else "–"


def write_summary(summary: SeedSummaryRecord) -> str:
    """Return mean ± standard deviation with the interval of the mean."""
    if summary.standard_deviation is None:
        return format_score(summary.mean)
    spread = f"{format_score_value(summary.mean)} ± {format_score_value(summary.standard_deviation)}"
    return (
        spread
        if summary.low is None or summary.high is None
        else f"{spread} ({format_range(summary.low, summary.high)})"
    )


def format_count(count: int) -> str:
    """Return a count with thousands separators."""
    return f"{count:,}"


def format_share(part: float) -> str:
    """Return a share of 1 in per cent."""
    return f"{100 * part:.1f} %"


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun, which takes an s."""
    return f"{format_count(count)} {noun}" + ("" if count == 1 else "s")


def list_words(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)


def begin_sentence(text: str) -> str:
    """Return text with a capital first letter and the rest as it is."""
    return text[:1].upper() + text[1:]


def metric_title(name: str) -> str:
    """Return the title of a metric, or its name where this version knows it no more."""
    return METRICS[name].title if name in METRICS else plain(name)


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


def main_predictor(report: Report) -> str:
    """Return whose scores the tables show: the model, or the ensemble of seeds."""
    first = pick(report.scores, report.primary_metric) or next(iter(report.scores), None)
    return first.predictor if first else "model"


def find_summary(report: Report, name: str, slice_name: str = "all") -> SeedSummaryRecord | None:
    """Return the summary over seeds of a score."""
    return next((entry for entry in report.seed_summaries if entry.name == name and entry.slice == slice_name), None)


def build_headline(report: Report) -> Headline:
    """Return the headline: the primary metric on all test rows, and what it is worth."""
    main = pick(report.scores, report.primary_metric, predictor=main_predictor(report))
    summary = find_summary(report, report.primary_metric)
    rows = f"on {count_of(main.n, 'test row')}" if main else "on no test rows"
    score, over = (
        (write_summary(summary), f" over {count_of(summary.n, 'seed')}") if summary else (write_score(main), "")
    )
    ensemble = (
        f"The {plain(main.predictor)} scores {write_score(main)}." if summary and main and len(report.seeds) > 1 else ""
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
    """Say how a score stands to a baseline; only an interval wholly on one side makes it clear."""
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


def _stand(main: Score | None, summary: SeedSummaryRecord | None, rival: Score) -> tuple[Tone, str]:
    value, low, high = (
        (summary.mean, summary.low, summary.high)
        if summary
        else (main.value, main.low, main.high)
        if main
        else (None,) * 3
    )
    return compare(value, low, high, rival.value, higher_is_better=rival.higher_is_better)


def find_rivals(report: Report, metric: str) -> list[Score]:
    """Return what the baselines reached on all test rows."""
    return [score for score in report.baselines if score.name == metric and score.slice == "all"]


def _judge_baselines(report: Report, main: Score | None, summary: SeedSummaryRecord | None) -> list[Verdict]:
    found = []
    for rival in find_rivals(report, report.primary_metric):
        tone, words = _stand(main, summary, rival)
        found.append(
            Verdict(tone, f"{begin_sentence(words)} the baseline {plain(rival.predictor)}, {write_score(rival)}.")
        )
    return found or [Verdict("open", "No baseline was scored.")]


def describe_band(band: BandVerdict) -> str:
    """Return which scores a band allows."""
    where = "all rows" if band.slice == "all" else plain(band.slice)
    return f"{metric_title(band.metric)} on {where}, {format_range(band.low, band.high)}"


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
            "the model predicts one class only"
            if len(report.seeds) == 1
            else f"{len(collapsed)} of {count_of(len(report.seeds), 'seed')} collapsed to one class"
        )
    by_standing: dict[str, list[str]] = {}
    for rival in find_rivals(report, report.primary_metric):
        by_standing.setdefault(_stand(main, summary, rival)[1], []).append(f"the {plain(rival.predictor)}")
    found += [f"{words} {list_words(names)}" for words, names in by_standing.items()]
    bands = [band for band in report.bands if band.metric == report.primary_metric and band.slice == "all"]
    found += [
        f"{band.verdict}{' with' if band.verdict == 'not comparable' else ''} the expected band" for band in bands
    ]
    return found or ["nothing to compare it with"]
