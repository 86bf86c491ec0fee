"""The words and figures of a report: every string that its HTML, its Markdown and the terminal show alike.

Owns how numbers are written, and which of a report's scores are shown. The headline is in `headline`, which strings make up which
table in `report_tables`, what markup surrounds them in `render`.
"""

import unicodedata
from collections.abc import Sequence

from finetune.metrics import METRICS
from finetune.paired_tests import LEVEL
from finetune.records import Report, Score, SeedSummaryRecord
from finetune.scores import pick

NOT_MEASURED = "not measured"
BEFORE_TRAINING = "before training"
CHANCE = "chance"
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


def _decimals(metric: str) -> int:
    """Return how many decimals a metric is shown with; a perplexity is no share of 1 and needs fewer."""
    return 1 if metric == "perplexity" else 3


def format_score_value(value: float, metric: str = "") -> str:
    """Return a score with the decimals of its metric, three where none is named, never as minus zero."""
    text = f"{value:,.{_decimals(metric)}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def format_range(low: float, high: float, metric: str = "") -> str:
    """Return an interval."""
    return f"{format_score_value(low, metric)} to {format_score_value(high, metric)}"


def format_score(
    value: float | None, low: float | None = None, high: float | None = None, reason: str = "", metric: str = ""
) -> str:
    """Return a value with its interval, or why there is none."""
    if value is None:
        return f"undefined ({plain(reason)})" if reason else "undefined"
    if low is None or high is None:
        return format_score_value(value, metric) + (f" (no interval: {plain(reason)})" if reason else "")
    return f"{format_score_value(value, metric)} ({format_range(low, high, metric)})"


def format_signed(value: float, metric: str = "") -> str:
    """Return a difference with the decimals of its metric and its sign, which zero has none of."""
    text = f"{value:+,.{_decimals(metric)}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


def format_difference(
    value: float | None, low: float | None = None, high: float | None = None, metric: str = ""
) -> str:
    """Return a difference with its interval where there is one, each figure with its sign."""
    if value is None:
        return "undefined"
    if low is None or high is None:
        return format_signed(value, metric)
    return f"{format_signed(value, metric)} ({format_signed(low, metric)} to {format_signed(high, metric)})"


def format_p(p: float | None) -> str:
    """Return a p-value for a column of them: three decimals, or one significant digit below 0.001."""
    if p is None:
        return "undefined"
    if p < SMALLEST_P:
        return "< 1e-6"
    if p < 0.001:
        return f"{float(f'{p:.0e}'):.6f}".rstrip("0")
    # A p-value just below the level must not read as the level.
    digits = 3 if p >= LEVEL or f"{p:.3f}" != f"{LEVEL:.3f}" else 6
    return f"{p:.{digits}f}"


def format_p_value(p: float | None) -> str:
    """Return a p-value for a sentence, such as `p = 0.031`."""
    text = format_p(p)
    return f"p {text}" if p is None or p < SMALLEST_P else f"p = {text}"


def write_score(score: Score | None) -> str:
    """Return the text of a score, a dash where it was not asked for."""
    return format_score(score.value, score.low, score.high, score.reason, score.name) if score else "–"


def mean_interval(summary: SeedSummaryRecord) -> tuple[float | None, float | None]:
    """Return the widest claim that can be made of the mean: its interval over seeds and rows, or over seeds where only that is known."""
    if summary.both_low is not None and summary.both_high is not None:
        return summary.both_low, summary.both_high
    return summary.low, summary.high


def write_summary(summary: SeedSummaryRecord) -> str:
    """Return mean ± standard deviation over seeds with the interval of the mean."""
    (low, high), name, deviation = mean_interval(summary), summary.name, summary.standard_deviation
    spread = f" ± {format_score_value(deviation, name)}" if deviation is not None else ""
    interval = f" ({format_range(low, high, name)})" if low is not None and high is not None else ""
    return f"{format_score_value(summary.mean, name)}{spread}{interval}"


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


def name_predictor(predictor: str) -> str:
    """Return who predicts as a part of a sentence."""
    if predictor == BEFORE_TRAINING:
        return f"the model {BEFORE_TRAINING}"
    return plain(predictor) if predictor == CHANCE or predictor.startswith("seed ") else f"the {plain(predictor)}"


def has_classes(report: Report) -> bool:
    """Say whether answers are one class a row; numbers, sets of labels and likelihoods have findings of their own."""
    return report.regression is None and report.multilabel is None and report.language is None


def name_collapse(report: Report) -> str:
    """Return of what there is only one where the model says the same of every row."""
    return "class" if has_classes(report) else "number" if report.regression else "set of labels"


def main_predictor(report: Report) -> str:
    """Return whose scores the tables show: the model, the ensemble of seeds, or the saved seed where there is no ensemble."""
    first = pick(report.scores, report.primary_metric) or next(iter(report.scores), None)
    return first.predictor if first else "model"


def find_summary(report: Report, name: str, slice_name: str = "all") -> SeedSummaryRecord | None:
    """Return the summary over seeds of a score."""
    return next((entry for entry in report.seed_summaries if entry.name == name and entry.slice == slice_name), None)


def find_rivals(report: Report, metric: str) -> list[Score]:
    """Return what the baselines reached on all test rows."""
    return [score for score in report.baselines if score.name == metric and score.slice == "all"]
