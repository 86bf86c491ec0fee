"""A recipe held against the bands that it expects.

Owns the outcome of `finetune reproduce`: what is said of each band, and which error a band makes. The run itself is `run`, the
verdicts are made in `report`. Imports no torch.
"""

from finetune.errors import DataError, RecipeError, RequirementError
from finetune.headline import describe_band
from finetune.recipe_file import LoadedRecipe
from finetune.records import BandVerdict, Report
from finetune.scores import pick
from finetune.wording import count_of, find_summary, format_score, main_predictor, plain, write_score, write_summary


def refuse_nothing_expected(loaded: LoadedRecipe) -> None:
    """Refuse a recipe that states nothing to reproduce.

    Raises:
        RecipeError: it has no band.
    """
    if not loaded.recipe.expect:
        example = "expect: {accuracy: {low: 0.8, high: 0.9, source: where the figures come from}}"
        raise RecipeError(
            [
                f"{loaded.path or loaded.name}: expect: missing, so there is nothing to reproduce; write for example {example}"
            ]
        )


def describe_verdict(report: Report, band: BandVerdict) -> str:
    """Return one line on a band: the verdict, what is expected, its source, and what was measured."""
    words = "not comparable with" if band.verdict == "not comparable" else band.verdict
    source = f"; source: {plain(band.source)}" if band.source else ""
    reason = f"; {plain(band.reason)}" if band.reason else ""
    return (
        f"{words} the expected band ({describe_band(band)}{source}): measured {_write_measured(report, band)}{reason}"
    )


def judge_reproduction(report: Report) -> None:
    """Accept a report that lies within every band of its recipe.

    Raises:
        RequirementError: a score lies above or below its band.
        DataError: none does, but one can't be compared.
    """
    for verdicts, error in ((("above", "below"), RequirementError), (("not comparable",), DataError)):
        found = [describe_verdict(report, band) for band in report.bands if band.verdict in verdicts]
        if found:
            raise error("; ".join(found))


def _write_measured(report: Report, band: BandVerdict) -> str:
    """Return what the band was held against: the mean of several seeds, or the score of the only one."""
    if len(report.seeds) == 1:
        return write_score(pick(report.scores, band.metric, band.slice, main_predictor(report)))
    summary = find_summary(report, band.metric, band.slice)
    return f"{write_summary(summary)} over {count_of(summary.n, 'seed')}" if summary else format_score(None)
