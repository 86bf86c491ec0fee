"""What is said of a comparison beside its tables, the same in HTML, Markdown and the terminal: title, alarms, verdicts, methods, facts.

Owns these sentences, apart from the verdicts' own words, which `compare_pairs` wrote into the record. Every string that leaves this
module is plain text on one line.
"""

from finetune.anchors import name_place
from finetune.comparison_records import Comparison, PairComparison
from finetune.paired_tests import LEVEL
from finetune.resampling import BY_GROUPS
from finetune.wording import (
    begin_sentence,
    count_of,
    format_count,
    format_p_value,
    format_share,
    list_words,
    metric_title,
    plain,
)


def title_of(comparison: Comparison) -> str:
    """Return the names of the runs, or their number where there are many."""
    names = [plain(run.name) for run in comparison.runs]
    return " against ".join(names) if len(names) == 2 else list_words(names) if len(names) < 5 else f"{len(names)} runs"


def list_alarms(comparison: Comparison) -> list[str]:
    """Return which runs collapsed: the first thing to say of a comparison."""
    return [f"{plain(run.name)}: {plain(run.collapse)}" for run in comparison.runs if run.collapse]


def title_pair(pair: PairComparison) -> str:
    """Return the heading of two runs; differences are those of the first named minus the other."""
    return f"{plain(pair.second)} minus {plain(pair.first)}"


def place_of(pair: PairComparison) -> str:
    """Return the id of the part of a page that shows two runs against each other."""
    return name_place("pair", pair.first, pair.second)


def write_verdict(pair: PairComparison) -> str:
    """Return the verdict as a sentence of its own."""
    return f"{plain(pair.verdict)}."


def describe_agreement(comparison: Comparison, pair: PairComparison) -> str:
    """Return on how many rows two runs agree; empty where answers are no classes."""
    if pair.differing is None or pair.agreement is None:
        return ""
    same = comparison.n - pair.differing
    return (
        f"{begin_sentence(plain(pair.answers))} give {format_count(same)} of {count_of(comparison.n, 'row')} the same label "
        f"({format_share(pair.agreement)}); they differ on {format_count(pair.differing)}."
    )


def describe_mcnemar(comparison: Comparison, pair: PairComparison) -> str:
    """Return what McNemar's test says of two accuracies; empty where answers are no classes."""
    counted = pair.mcnemar
    if counted is None:
        return ""
    alone = f"{format_count(counted.only_first)} and {count_of(counted.only_second, 'row')}"
    by_rows = " The rows come in groups, which this test takes for independent." if is_grouped(comparison) else ""
    return (
        f"McNemar's test of equal accuracy, of {plain(pair.answers)}: {plain(pair.first)} alone and {plain(pair.second)} alone "
        f"are right on {alone}; {format_p_value(counted.p_exact)} (exact), {format_p_value(counted.p_mid)} (mid-p).{by_rows}"
    )


def is_grouped(comparison: Comparison) -> bool:
    """Say whether whole groups of rows were drawn."""
    return comparison.resampling == BY_GROUPS


def list_methods(comparison: Comparison) -> list[str]:
    """Return how intervals and p-values came about."""
    drawn = {"rows": "rows", BY_GROUPS: "groups of rows"}.get(comparison.resampling, plain(comparison.resampling))
    found = [
        f"All runs were measured on {plain(comparison.rows)}. Differences are those of the second run minus the first.",
        f"Intervals hold 95 % of {format_count(comparison.resamples)} paired bootstrap resamples of {drawn}; the paired "
        "bootstrap's p-value is of the same resamples, shifted to have no difference.",
        f"Approximate randomisation swaps the two runs' answers to each {'group' if is_grouped(comparison) else 'row'} by a "
        f"coin: {format_count(comparison.randomisations)} times for {metric_title(comparison.metric)}, "
        f"{format_count(comparison.resamples)} times for the others. It and the interval may disagree at the border of 5 %.",
    ]
    if any(pair.differences[0].p_seeds is not None for pair in comparison.pairs):
        found.append(
            "Where both runs have several seeds, interval and p-value have seeds and rows as sources: Welch's test over the "
            "seeds, with the variance that other rows would add to all seeds alike."
        )
    if len(comparison.pairs) > 1:
        found.append(
            f"The verdicts' p-values are corrected by Holm's method for the {len(comparison.pairs)} pairs; those of other "
            "metrics are not corrected for anything."
        )
    else:
        found.append("The verdict's metric alone is tested; p-values of the others are not corrected for their number.")
    found.append(
        f"What could be shown is the smallest true difference that would come out at p < {LEVEL:g} four times in five."
    )
    return found


def list_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return which rows and runs were compared, and how it is done again."""
    return [
        ("rows", plain(comparison.rows)),
        ("fingerprint of the rows (SHA-256)", plain(comparison.fingerprint)),
        *([("labels", ", ".join(map(plain, comparison.labels)))] if comparison.labels else []),
        *((f"folder of {plain(run.name)}", plain(run.path)) for run in comparison.runs),
        ("a resample draws", plain(comparison.resampling)),
        ("command", plain(comparison.command)),
        ("made", plain(comparison.created)),
        ("versions", ", ".join(f"{plain(name)} {plain(version)}" for name, version in comparison.versions.items())),
    ]
