"""Finished runs read from their folders and laid row beside row, so that they can be compared.

Owns which runs may be compared, which rows of them, and that what the folders hold fits together. Computes nothing.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from finetune.answers import (
    Answers,
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
)
from finetune.compared_answers import read_run_answers, shorten_list
from finetune.errors import DataError, MissingInputError, UsageError
from finetune.metric import KINDS, Kind
from finetune.prediction_records import EvaluatedRow
from finetune.records import Report, SplitRecord
from finetune.report_facts import SHORT_FINGERPRINT
from finetune.run_dir import RunDir, read_report, read_rows
from finetune.wording import count_of, format_count, has_classes, list_words, plain

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class MatchedRun:
    """One run's answers to the compared rows.

    Attributes:
        rows: ids of the rows in this run.
        seeds: the answers of each seed.
        main: those of the only seed, of the seed-averaged ensemble, or of the saved seed where there is none.
    """

    path: Path
    report: Report
    rows: tuple[str, ...]
    seeds: tuple[AnyAnswers, ...]
    main: AnyAnswers


@dataclass(frozen=True)
class MatchedRuns:
    """Several runs on the same rows.

    Attributes:
        labels: names in the order of label ids, that of the first run.
        texts: (rows,) the texts of each row; none where no run has written them down.
        groups: (rows,) the group of each row; None where rows come in none.
        description: which rows these are.
    """

    runs: tuple[MatchedRun, ...]
    labels: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...] | None
    description: str
    fingerprint: str

    @property
    def has_same_tokens(self) -> bool:
        """Say whether language models predict the same tokens of each row; true of other runs."""
        tokens = [run.main.tokens for run in self.runs if isinstance(run.main, LanguageAnswers)]
        return all(np.array_equal(tokens[0], other) for other in tokens[1:])


def match_runs(paths: Sequence[Path], *, intersection: bool = False) -> MatchedRuns:
    """Return the runs in `paths` on their test rows, or on those that all of them have with `intersection`.

    Raises:
        UsageError: fewer than two runs, or the same one twice.
        MissingInputError: a path is no completed run, or a run lacks what an intersection needs.
        DataError: the runs have different labels or rows, or a folder holds something wrong.
    """
    _refuse_too_few(paths)
    reports = [read_report(RunDir(path)) for path in paths]
    _refuse_other_kinds(paths, reports)
    _refuse_other_labels(paths, reports)
    splits = [_test_split(path, report) for path, report in zip(paths, reports, strict=True)]
    labels = tuple(reports[0].data.labels)
    if len({split.fingerprint for split in splits}) == 1:
        known = [_read_rows_if_any(path) for path in paths]
        positions = [np.arange(splits[0].rows)] * len(paths)
        description, fingerprint = f"all {count_of(splits[0].rows, 'test row')}", splits[0].fingerprint
    elif intersection:
        known = [_read_rows_for_intersection(path) for path in paths]
        positions = _find_shared([[row.key for row in rows] for rows in known])
        if not len(positions[0]):
            raise DataError(f"{list_words([str(path) for path in paths])}: no test row stands in all of these runs")
        sizes = [f"{format_count(split.rows)} of {plain(str(path))}" for path, split in zip(paths, splits, strict=True)]
        description = f"the {count_of(len(positions[0]), 'test row')} that all runs share, out of {list_words(sizes)}"
        fingerprint = _fingerprint([known[0][position].key for position in positions[0]])
    else:
        _refuse_other_rows(paths, reports, splits)
    runs = tuple(
        _match_run(path, report, labels, rows, split.rows, at)
        for path, report, rows, split, at in zip(paths, reports, known, splits, positions, strict=True)
    )
    _refuse_other_answers(runs)
    return _describe_rows(runs, labels, known, positions, description, fingerprint)


def _refuse_too_few(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise UsageError(f"a comparison needs two runs or more, found {len(paths)}")
    seen: dict[Path, Path] = {}
    for path in paths:
        if (before := seen.get(path.resolve())) is not None:
            also = f", also as {before}" if before != path else ""
            raise UsageError(f"{path}: named twice{also}; a comparison needs different runs")
        seen[path.resolve()] = path


def _refuse_other_kinds(paths: Sequence[Path], reports: Sequence[Report]) -> None:
    kinds = [_name_kind(report) for report in reports]
    other = next((number for number, kind in enumerate(kinds) if kind != kinds[0]), None)
    if other is not None:
        one, two = (f"{paths[number]} (task {reports[number].task}: {kinds[number]})" for number in (0, other))
        raise DataError(f"{one} and {two} give different kinds of answers and can't be compared")


def _name_kind(report: Report) -> str:
    """Return what a run says of a row, in words."""
    if has_classes(report):
        return KINDS[Answers]
    kind: Kind = LanguageAnswers if report.language else RegressionAnswers if report.regression else MultilabelAnswers
    return KINDS[kind]


def _refuse_other_labels(paths: Sequence[Path], reports: Sequence[Report]) -> None:
    for path, report in zip(paths, reports, strict=True):
        if set(report.data.labels) != set(reports[0].data.labels):
            one, other = (
                f"{where} (task {found.task}: {shorten_list(found.data.labels)})"
                for where, found in ((paths[0], reports[0]), (path, report))
            )
            raise DataError(f"{one} and {other} have different labels and can't be compared")


def _refuse_other_rows(paths: Sequence[Path], reports: Sequence[Report], splits: Sequence[SplitRecord]) -> NoReturn:
    other = next(number for number, split in enumerate(splits) if split.fingerprint != splits[0].fingerprint)
    one, two = (
        f"{paths[number]} (task {reports[number].task}, {count_of(splits[number].rows, 'test row')}, fingerprint "
        f"{splits[number].fingerprint[:SHORT_FINGERPRINT]})"
        for number in (0, other)
    )
    raise DataError(f"{one} and {two} were measured on different rows; --intersection compares those that they share")


def _test_split(path: Path, report: Report) -> SplitRecord:
    for split in report.data.splits:
        if split.part == "test":
            return split
    raise DataError(f"{RunDir(path).report}: speaks of no test rows")


def _read_rows_if_any(path: Path) -> list[EvaluatedRow]:
    return list(read_rows(RunDir(path).rows)) if RunDir(path).rows.exists() else []


def _read_rows_for_intersection(path: Path) -> list[EvaluatedRow]:
    rows = _read_rows_if_any(path)
    if not rows:
        raise MissingInputError(
            f"{path}: holds no {RunDir(path).rows.name}, which tells rows apart; 'finetune evaluate {path}' measures the model "
            "again and writes it, for a comparison of that new folder"
        )
    return rows


def _find_shared(keys: Sequence[Sequence[str]]) -> list[Positions]:
    """Return the positions of the rows that all runs have, in the order of the first; equal rows are matched in order."""
    shared = Counter(keys[0])
    for other in keys[1:]:
        shared &= Counter(other)
    order = []
    left = Counter(shared)
    for key in keys[0]:
        if left[key]:
            left[key] -= 1
            order.append(key)
    found = []
    for of_run in keys:
        places: dict[str, list[int]] = defaultdict(list)
        for position, key in enumerate(of_run):
            places[key].append(position)
        next_places = {key: iter(positions) for key, positions in places.items() if key in shared}
        found.append(np.array([next(next_places[key]) for key in order], dtype=np.int64))
    return found


def _fingerprint(keys: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(keys), ensure_ascii=False).encode()).hexdigest()


def _match_run(
    path: Path,
    report: Report,
    labels: tuple[str, ...],
    rows: Sequence[EvaluatedRow],
    count: int,
    positions: Positions,
) -> MatchedRun:
    """Return a run's answers to the rows at `positions`, after checking its files against one another."""
    top = RunDir(path)
    seeds = [seed.seed for seed in report.seeds]
    main, ids, expected = read_run_answers(top.predictions, report, labels, count)
    if rows and [(row.row, row.label) for row in rows] != list(zip(ids, expected, strict=True)):
        raise DataError(f"{top.rows}: its rows are not those of {top.predictions.name}")
    answers = [main]
    if len(seeds) > 1:
        answers = []
        for seed in seeds:
            file = top.seed(seed).predictions
            of_seed, *of_rows = read_run_answers(file, report, labels, count)
            if of_rows != [ids, expected]:
                raise DataError(f"{file}: its rows are not those of {top.predictions}")
            answers.append(of_seed)
    matched = tuple(ids[position] for position in positions)
    return MatchedRun(path, report, matched, tuple(found[positions] for found in answers), main[positions])


def _refuse_other_answers(runs: Sequence[MatchedRun]) -> None:
    for run in runs[1:]:
        one, other = runs[0].main, run.main
        # What is expected of a language model is the text itself, which the fingerprints compared.
        if isinstance(one, LanguageAnswers) or isinstance(other, LanguageAnswers):
            continue
        wrong = np.flatnonzero((one.expected != other.expected).reshape(len(one), -1).any(axis=1))
        if wrong.size:
            raise DataError(
                f"{runs[0].path} and {run.path}: the same rows have other labels in {RunDir(run.path).predictions.name} "
                f"(first in compared row {wrong[0]}); one of the files was changed"
            )


def _describe_rows(
    runs: tuple[MatchedRun, ...],
    labels: tuple[str, ...],
    known: Sequence[Sequence[EvaluatedRow]],
    positions: Sequence[Positions],
    description: str,
    fingerprint: str,
) -> MatchedRuns:
    """Return the runs with the texts and groups that the first of them knows."""
    written = [[rows[place] for place in at] for rows, at in zip(known, positions, strict=True) if rows]
    texts = tuple(tuple(row.texts) for row in written[0]) if written else ((),) * len(positions[0])
    grouped = next((rows for rows in written if any(row.group is not None for row in rows)), None)
    # A row without a group is a group of its own.
    groups = tuple(row.group if row.group is not None else f"\0{row.row}" for row in grouped) if grouped else None
    return MatchedRuns(runs, labels, texts, groups, description, fingerprint)
