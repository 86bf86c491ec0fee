"""What is known of compared runs beyond their answers: names that tell them apart, settings that differ, reasons for caution.

Owns what a reader of a comparison is warned of. Answers and scores are `compared_runs` and `compare`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from finetune.records import Report
from finetune.report_facts import SHORT_FINGERPRINT
from finetune.wording import count_of, list_words, metric_title, plain, shorten

LONGEST_NAME: Final = 60
NOT_SET: Final = "–"
# They say what is expected of a run, not how it is made.
_NO_SETTINGS = frozenset({"expect", "note"})


def name_runs(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return short names that tell runs apart: those they have, or the ends of their paths where some of these are the same."""
    parts = [path.resolve().parts[1:] for path in paths]
    longest = max(map(len, parts))
    candidates = [names, *(["/".join(own[-count:]) for own in parts] for count in range(1, longest + 1))]
    for tried in candidates:
        short = [shorten(plain(name), LONGEST_NAME) for name in tried]
        if all(short) and len(set(short)) == len(short):
            return short
    return [f"run {number}" for number in range(1, len(paths) + 1)]


def find_settings(recipes: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Return, for each recipe, the values that are not the same in all; a dash where it doesn't have the key."""
    written = [{key: _write_setting(value) for key, value in _flatten(recipe)} for recipe in recipes]
    keys = dict.fromkeys(key for own in written for key in own)
    different = [key for key in keys if len({own.get(key, NOT_SET) for own in written}) > 1]
    return [{key: own.get(key, NOT_SET) for key in different} for own in written]


def _flatten(recipe: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings of a recipe by `section.key`."""
    found = []
    for section, value in recipe.items():
        if section not in _NO_SETTINGS:
            inner = value.items() if isinstance(value, dict) else ()
            found += [(f"{section}.{key}", entry) for key, entry in inner] or [(section, value)]
    return found


def _write_setting(value: object) -> str:
    return plain(value) if isinstance(value, str) else plain(json.dumps(value, ensure_ascii=False))


def list_warnings(reports: Sequence[Report], names: Sequence[str], replaced_by: str | None) -> list[str]:
    """Return what must be known of the runs before a difference is believed, gravest first.

    That a run collapsed is not repeated here. `replaced_by` is the metric of the verdicts where not all runs report the first one's.
    """
    made = [report.provenance for report in reports]
    found = []
    if replaced_by is not None:
        primary = metric_title(reports[0].primary_metric)
        found.append(f"Not all runs report {primary}; the verdicts speak of {metric_title(replaced_by)}.")
    for begin, values in (
        ("Test rows that stand in train too", [str(_count_shared(report)) for report in reports]),
        ("The runs are of different tasks", [report.task for report in reports]),
        ("The runs were trained on different rows", [_describe_train(report) for report in reports]),
        ("Different rows played dev", [report.data.selection for report in reports]),
        (
            "Labels are numbered in different orders; F1, precision and recall are of the first run's second label",
            [list_words(report.data.labels) for report in reports],
        ),
        ("The runs see different numbers of tokens at once", [_describe_context(report) for report in reports]),
        ("The runs were computed in different precisions", [entry.precision for entry in made]),
        (
            "The runs were on different devices, so their speeds say little of the models",
            [entry.device for entry in made],
        ),
        (
            "The runs used different numbers of processes and threads, so their speeds say little of the models",
            [f"{entry.processes} and {entry.threads}" for entry in made],
        ),
    ):
        if len(set(values)) > 1:
            found.append(f"{begin}: {_list_by_value(names, values)}.")
    return found + _list_checkpoints(reports, names)


def _list_by_value(names: Sequence[str], values: Sequence[str]) -> str:
    by_value: dict[str, list[str]] = {}
    for name, value in zip(names, values, strict=True):
        by_value.setdefault(plain(value), []).append(name)
    return "; ".join(f"{list_words(some)}: {value}" for value, some in by_value.items())


def _describe_train(report: Report) -> str:
    split = next((split for split in report.data.splits if split.part == "train"), None)
    return f"{count_of(split.rows, 'row')} ({split.fingerprint[:SHORT_FINGERPRINT]})" if split else "none"


def _describe_context(report: Report) -> str:
    context = report.language.context if report.language else None
    return count_of(context, "token") if context else "not known"


def _count_shared(report: Report) -> int:
    return sum(len(entry.rows) for entry in report.data.shared_with_train if entry.part == "test")


def _list_checkpoints(reports: Sequence[Report], names: Sequence[str]) -> list[str]:
    """Return where the same checkpoint was not the same to all runs: other weights behind its name, or loaded otherwise."""
    by_name: dict[str, list[int]] = {}
    for number, report in enumerate(reports):
        by_name.setdefault(report.provenance.checkpoint, []).append(number)
    found = []
    for checkpoint, numbers in by_name.items():
        own_names = [names[number] for number in numbers]
        made = [reports[number].provenance for number in numbers]
        for what, values in (
            ("was not the same file", [entry.checkpoint_sha256[:SHORT_FINGERPRINT] for entry in made]),
            ("was loaded differently", ["; ".join(entry.notes) or "nothing to note" for entry in made]),
        ):
            if len(set(values)) > 1:
                found.append(f"The checkpoint {plain(checkpoint)} {what}: {_list_by_value(own_names, values)}.")
    return found
