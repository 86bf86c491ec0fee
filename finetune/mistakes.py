"""Where a model was wrong: counts by label, the surest wrong answers, pairs of labels it confuses, labels it doubts.

Owns which wrong answers a report shows and how candidates for annotation errors are found. What was predicted comes from
`decisions` or `metrics`; test rows that are nearly train rows are `near_duplicates`. Imports no torch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.findings import ConfusedPair, Confusion, LabelDoubt, LabelDoubts, Mistake

MISTAKES_SHOWN = 20
PAIRS_SHOWN = 12
EXAMPLES_A_PAIR = 5
DOUBTS_SHOWN = 20
# The thresholds are means over the rows of a label, which fewer rows would leave to chance.
FEWEST_ROWS = 50
# A mean of equal probabilities may lie a rounding error above them.
ROUNDING = 1e-9
LETTERS_SHOWN = 1000

METHOD = (
    "confident learning (Northcutt, Jiang and Chuang 2021): the model gives another label at least the mean probability "
    "that this label has on its own rows, and more than it gives the row's label; the most doubted first, by the "
    "probability of the row's label minus the highest other one"
)


def join_texts(texts: tuple[str, ...]) -> str:
    """Return a row's text, or its pair of texts joined, as reports show it: at most 1,000 letters."""
    return " ⸱ ".join(texts)[:LETTERS_SHOWN]


def build_confusion(expected: NDArray[np.int64], predicted: NDArray[np.int64], label_names: Sequence[str]) -> Confusion:
    """Return counts by expected and predicted label, both (rows,)."""
    classes = len(label_names)
    cells = np.bincount(expected * classes + predicted, minlength=classes * classes)
    return Confusion(labels=list(label_names), counts=cells.reshape(classes, classes).tolist())


def find_mistakes(
    rows: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    expected: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
) -> list[Mistake]:
    """Return the 20 wrong answers whose predicted label had the highest probability, surest first.

    `expected` and `predicted` are (rows,), `probabilities` (rows, classes). A threshold may predict a label that is not the
    most probable one, so the two needn't agree.
    """
    wrong = _surest_first(np.flatnonzero(predicted != expected), predicted, probabilities)
    return _build_mistakes(wrong[:MISTAKES_SHOWN], rows, texts, expected, predicted, probabilities, label_names)


def list_confused_pairs(
    rows: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    expected: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
) -> list[ConfusedPair]:
    """Return the 12 most frequent directions of confusion, each with its 5 surest wrong answers; none that never happened.

    Shapes are those of `find_mistakes`. Equally frequent directions stand in the order of their labels.
    """
    counts = np.array(build_confusion(expected, predicted, label_names).counts)
    np.fill_diagonal(counts, 0)
    directions = [divmod(int(cell), len(label_names)) for cell in np.argsort(-counts, axis=None, kind="stable")]
    found = []
    for truth, answer in directions[:PAIRS_SHOWN]:
        if not counts[truth, answer]:
            break
        members = np.flatnonzero((expected == truth) & (predicted == answer))
        surest = _surest_first(members, predicted, probabilities)[:EXAMPLES_A_PAIR]
        found.append(
            ConfusedPair(
                expected=label_names[truth],
                predicted=label_names[answer],
                count=len(members),
                examples=_build_mistakes(surest, rows, texts, expected, predicted, probabilities, label_names),
            )
        )
    return found


def find_label_doubts(
    rows: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    expected: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
) -> LabelDoubts | None:
    """Return the rows whose label may be an annotation error, the 20 most doubted of them in full.

    `expected` is (rows,), `probabilities` (rows, classes). None where that says nothing: fewer than 50 rows, fewer than two
    labels among them, or one most probable label for all, when every row of another label would be a candidate.
    """
    carried = len(np.unique(expected))
    if len(expected) < FEWEST_ROWS or carried < 2 or len(np.unique(probabilities.argmax(axis=1))) < 2:
        return None
    candidates, suggested = _find_candidates(expected, probabilities)
    absent = len(label_names) - carried
    aside = f"; {absent} of {len(label_names)} labels have no row and are never suggested" if absent else ""
    return LabelDoubts(
        method=METHOD + aside,
        count=len(candidates),
        rows=[
            LabelDoubt(
                row=rows[number],
                text=join_texts(texts[number]),
                label=label_names[expected[number]],
                suggested=label_names[suggested[number]],
                probability_of_label=float(probabilities[number, expected[number]]),
                probability_of_suggested=float(probabilities[number, suggested[number]]),
            )
            for number in candidates[:DOUBTS_SHOWN]
        ],
    )


def _find_candidates(
    expected: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of doubted rows, most doubted first, and the label suggested for each row, (rows,).

    Confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70): the threshold of a label is its mean probability over the
    rows that carry it; a row is counted as another label where that one reaches its threshold, with the highest probability
    of those that do. As in the authors' program (cleanlab 2.9: the same rows in the same order on 200 random data sets), a
    row whose own label is more probable is no candidate. The order is the paper's normalised margin. A label that no row
    carries has no threshold and is never suggested.
    """
    thresholds = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(expected):
        thresholds[label] = probabilities[expected == label, label].mean()
    everyone = np.arange(len(expected))
    own = probabilities[everyone, expected]
    others = probabilities.copy()
    others[everyone, expected] = -np.inf
    confident = np.where(others >= thresholds - ROUNDING, others, -np.inf)
    suggested = confident.argmax(axis=1)
    candidates = np.flatnonzero(confident[everyone, suggested] > own)
    margins = (own - others.max(axis=1))[candidates]
    return candidates[np.argsort(margins, kind="stable")], suggested


def _surest_first(
    members: NDArray[np.int64], predicted: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.int64]:
    return members[np.argsort(-probabilities[members, predicted[members]], kind="stable")]


def _build_mistakes(
    members: NDArray[np.int64],
    rows: Sequence[str],
    texts: Sequence[tuple[str, ...]],
    expected: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    label_names: Sequence[str],
) -> list[Mistake]:
    return [
        Mistake(
            row=rows[number],
            text=join_texts(texts[number]),
            expected=label_names[expected[number]],
            predicted=label_names[predicted[number]],
            probability=float(probabilities[number, predicted[number]]),
        )
        for number in members
    ]
