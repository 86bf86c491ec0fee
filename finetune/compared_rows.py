"""The rows on which two runs are apart: they disagree, or one of them is much nearer to what was expected.

Owns which rows a comparison shows. What follows from all of them is `compare_pairs`.
"""

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, AnyAnswers, LanguageAnswers, MultilabelAnswers, RegressionAnswers
from finetune.comparison_records import DifferingRow, RowGap
from finetune.mistakes import join_texts
from finetune.wording import format_score_value, list_words

EXAMPLES_SHOWN: Final = 20


@dataclass(frozen=True)
class Rows:
    """What is known of the compared rows: names of the labels, ids, texts."""

    labels: tuple[str, ...]
    ids: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]


def find_differing_rows(first: Answers, second: Answers, rows: Rows) -> list[DifferingRow]:
    """Return up to 20 rows on which two runs disagree, largest gap first; which of them is right takes turns, so that all sides show."""
    everyone = np.arange(len(first))
    of_expected = [answers.probabilities[everyone, answers.expected] for answers in (first, second)]
    gaps = of_expected[1] - of_expected[0]
    differing = np.flatnonzero(first.predicted != second.predicted)
    by_size = differing[np.argsort(-np.abs(gaps[differing]), kind="stable")]
    who: dict[Literal["first", "second", "neither"], NDArray[np.int64]] = {
        "first": by_size[first.is_right[by_size]],
        "second": by_size[second.is_right[by_size]],
        "neither": by_size[~first.is_right[by_size] & ~second.is_right[by_size]],
    }
    in_turns = [row for row in chain.from_iterable(zip_longest(*who.values())) if row is not None][:EXAMPLES_SHOWN]
    right = {int(row): name for name, some in who.items() for row in some}
    return [
        DifferingRow(
            row=rows.ids[row],
            text=join_texts(rows.texts[row]),
            expected=rows.labels[first.expected[row]],
            first=rows.labels[first.predicted[row]],
            second=rows.labels[second.predicted[row]],
            right=right[int(row)],
            first_probability=float(of_expected[0][row]),
            second_probability=float(of_expected[1][row]),
            gap=float(gaps[row]),
        )
        for row in sorted(in_turns, key=lambda row: (-abs(gaps[row]), row))
    ]


def find_gaps(first: AnyAnswers, second: AnyAnswers, rows: Rows) -> tuple[list[RowGap], str]:
    """Return up to 20 rows whose losses in two runs are farthest apart, largest gap first, and what such a loss is."""
    per_token = isinstance(first, LanguageAnswers) and isinstance(second, LanguageAnswers)
    per_byte = per_token and not np.array_equal(first.tokens, second.tokens)
    losses = [_row_losses(answers, per_byte=per_byte) for answers in (first, second)]
    gaps = losses[1] - losses[0]
    order = np.argsort(-np.abs(gaps), kind="stable")[:EXAMPLES_SHOWN]
    found = [
        RowGap(
            row=rows.ids[row],
            text=join_texts(rows.texts[row]),
            expected=_write_expected(first, row, rows.labels),
            first=_write_said(first, row, rows.labels),
            second=_write_said(second, row, rows.labels),
            first_loss=float(losses[0][row]),
            second_loss=float(losses[1][row]),
            gap=float(gaps[row]),
        )
        for row in order
        if gaps[row] != 0
    ]
    return found, _name_loss(first, per_byte=per_byte)


def _row_losses(answers: AnyAnswers, *, per_byte: bool) -> NDArray[np.float64]:
    """Return how wrong each answer is, (rows,)."""
    if isinstance(answers, RegressionAnswers):
        return np.abs(answers.predicted - answers.expected)
    if isinstance(answers, MultilabelAnswers):
        return (answers.predicted != answers.expected).sum(axis=1).astype(np.float64)
    assert isinstance(answers, LanguageAnswers)
    if per_byte:
        return answers.losses / np.log(2) / np.maximum(answers.text_bytes, 1)
    return answers.losses / np.maximum(answers.tokens, 1)


def _name_loss(answers: AnyAnswers, *, per_byte: bool) -> str:
    if isinstance(answers, RegressionAnswers):
        return "absolute error"
    if isinstance(answers, MultilabelAnswers):
        return "wrong labels"
    return "bits per byte" if per_byte else "loss per token"


def _write_expected(answers: AnyAnswers, row: int, labels: tuple[str, ...]) -> str:
    if isinstance(answers, RegressionAnswers):
        return format_score_value(float(answers.expected[row]))
    return _name_labels(answers.expected[row], labels) if isinstance(answers, MultilabelAnswers) else ""


def _write_said(answers: AnyAnswers, row: int, labels: tuple[str, ...]) -> str:
    if isinstance(answers, RegressionAnswers):
        return format_score_value(float(answers.predicted[row]))
    return _name_labels(answers.predicted[row], labels) if isinstance(answers, MultilabelAnswers) else ""


def _name_labels(holds: NDArray[np.bool_], labels: tuple[str, ...]) -> str:
    return list_words([labels[label] for label in np.flatnonzero(holds)]) or "none"
