"""Where numbers, sets of labels and likelihoods of text are worst, and how they lie: what a report has in the place of a confusion matrix.

Owns which points, labels and rows a report shows of them. Wrong classes are `mistakes`, the figures over all rows are `scores`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.answers import LanguageAnswers, MultilabelAnswers, RegressionAnswers, build_answers
from finetune.findings import (
    DocumentLoss,
    LabelScore,
    LanguageFindings,
    MultilabelFindings,
    NumberError,
    RegressionFindings,
    ScatterPoint,
    WrongLabels,
)
from finetune.metrics import score
from finetune.mistakes import MISTAKES_SHOWN, join_texts
from finetune.resampling import choose_resampling
from finetune.statistics import bootstrap_intervals
from finetune.wording import shorten

MOST_POINTS = 500
BEGINNING = 300
DOCUMENTS_SHOWN = 10
FEWEST_TOKENS = 10
Texts = Sequence[tuple[str, ...]]


def find_number_errors(rows: Sequence[str], texts: Texts, answers: RegressionAnswers) -> RegressionFindings:
    """Return predicted against expected numbers as at most 500 points, and the 20 largest errors."""
    differences = answers.predicted - answers.expected
    largest = np.argsort(-np.abs(differences), kind="stable")[:MISTAKES_SHOWN]
    return RegressionFindings(
        points=_gather_points(answers),
        errors=[
            NumberError(
                row=rows[number],
                text=join_texts(texts[number]),
                expected=float(answers.expected[number]),
                predicted=float(answers.predicted[number]),
                difference=float(differences[number]),
            )
            for number in largest
            if differences[number] != 0
        ],
    )


def _gather_points(answers: RegressionAnswers) -> list[ScatterPoint]:
    """Return each row as a point, or the middle of the rows in each cell of a grid where there are too many."""
    pairs = np.stack([answers.expected, answers.predicted], axis=1)
    keys: NDArray[np.float64] | NDArray[np.int64] = pairs
    if len(np.unique(pairs, axis=0)) > MOST_POINTS:
        cells = int(MOST_POINTS**0.5)
        low, spread = pairs.min(axis=0), np.ptp(pairs, axis=0)
        keys = np.minimum((cells * (pairs - low) / np.where(spread > 0, spread, 1)).astype(np.int64), cells - 1)
    _, cell_of_row, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    of_row = cell_of_row.reshape(-1)
    middles = [np.bincount(of_row, weights=column) / counts for column in pairs.T]
    return [
        ScatterPoint(expected=float(expected), predicted=float(predicted), n=int(count))
        for expected, predicted, count in zip(*middles, counts, strict=True)
    ]


def find_label_errors(
    rows: Sequence[str],
    texts: Texts,
    answers: MultilabelAnswers,
    label_names: Sequence[str],
    resamples: int,
    groups: Sequence[str] | None = None,
) -> MultilabelFindings:
    """Return how well each label is told, and the 20 rows with most wrong labels; `groups` (rows,) are those of a resample."""
    wrong = (answers.predicted != answers.expected).sum(axis=1)
    worst = np.argsort(-wrong, kind="stable")[:MISTAKES_SHOWN]

    def names(held: NDArray[np.bool_]) -> list[str]:
        return [label_names[label] for label in np.flatnonzero(held)]

    return MultilabelFindings(
        labels=[_score_label(answers, label, name, resamples, groups) for label, name in enumerate(label_names)],
        rows=[
            WrongLabels(
                row=rows[number],
                text=join_texts(texts[number]),
                expected=names(answers.expected[number]),
                missed=names(answers.expected[number] & ~answers.predicted[number]),
                added=names(answers.predicted[number] & ~answers.expected[number]),
            )
            for number in worst
            if wrong[number]
        ],
        right=int((wrong == 0).sum()),
    )


def _score_label(
    answers: MultilabelAnswers, label: int, name: str, resamples: int, groups: Sequence[str] | None
) -> LabelScore:
    """Return one label as a task of two classes of its own."""
    expected, predicted = (said[:, label].astype(np.int64) for said in (answers.expected, answers.predicted))
    of_label = answers.probabilities[:, label]
    own = build_answers(expected, np.stack([1 - of_label, of_label], axis=1), predicted)
    resampling = choose_resampling(own.strata, groups)
    interval = bootstrap_intervals(["f1"], own, resampling=resampling, resamples=resamples)["f1"]
    return LabelScore(
        label=name,
        positives=int(expected.sum()),
        predicted=int(predicted.sum()),
        f1=score("f1", own).value,
        f1_low=interval.low,
        f1_high=interval.high,
        precision=score("precision", own).value,
        recall=score("recall", own).value,
        average_precision=score("pr_auc", own).value,
    )


def find_hard_documents(
    rows: Sequence[str], texts: Texts, answers: LanguageAnswers, context: int | None, masked_share: float | None
) -> LanguageFindings:
    """Return the 10 rows with the highest and the 10 with the lowest loss a token, and what the model was asked."""
    tokens = np.maximum(answers.tokens, 1)
    losses = answers.losses / tokens
    has_many = answers.tokens >= FEWEST_TOKENS
    fewest = FEWEST_TOKENS if has_many.sum() >= 2 * DOCUMENTS_SHOWN else 1
    order = np.argsort(-losses, kind="stable")
    order = order[answers.tokens[order] >= fewest]
    hardest = order[: min(DOCUMENTS_SHOWN, -(-len(order) // 2))]
    easiest = order[len(hardest) :][::-1][:DOCUMENTS_SHOWN]

    def describe(numbers: NDArray[np.int64]) -> list[DocumentLoss]:
        return [
            DocumentLoss(
                row=rows[number],
                text=shorten(join_texts(texts[number]), BEGINNING),
                loss=float(losses[number]),
                tokens=int(answers.tokens[number]),
                token_accuracy=float(answers.right[number] / tokens[number]),
            )
            for number in numbers
        ]

    return LanguageFindings(
        rows=len(answers),
        tokens=int(answers.tokens.sum()),
        context=context,
        masked_share=masked_share,
        hardest=describe(hardest),
        easiest=describe(easiest),
        fewest_tokens=fewest,
    )
