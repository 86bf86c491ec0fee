"""finetune.mistakes: counts, the surest wrong answers, both directions of confusion, and labels that may be wrong."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune.mistakes import (
    FEWEST_ROWS,
    build_confusion,
    find_label_doubts,
    find_mistakes,
    join_texts,
    list_confused_pairs,
)

Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def names(count: int) -> list[str]:
    return [f"label {number}" for number in range(count)]


def describe(count: int) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return ids and texts for `count` rows."""
    return [f"test/{number}" for number in range(count)], [(f"text {number}",) for number in range(count)]


def number_of(row: str) -> int:
    return int(row.partition("/")[2])


@st.composite
def some_rows(draw: st.DrawFn, fewest: int = 1, most: int = 60) -> Rows:
    """Draw expected and predicted labels, which may be any, and probabilities with many ties."""
    classes, count = draw(st.integers(2, 5)), draw(st.integers(fewest, most))
    labels = st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)
    weights = draw(st.lists(st.tuples(*[st.integers(1, 9)] * classes), min_size=count, max_size=count))
    masses = np.array(weights, dtype=np.float64)
    return np.array(draw(labels)), np.array(draw(labels)), masses / masses.sum(axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(some_rows())
def test_counts_equal_scikit_learn(rows: Rows) -> None:
    expected, predicted, probabilities = rows
    classes = probabilities.shape[1]
    oracle = sklearn.metrics.confusion_matrix(expected, predicted, labels=range(classes))
    confusion = build_confusion(expected, predicted, names(classes))
    assert confusion.counts == oracle.tolist()
    assert confusion.labels == names(classes)


@settings(max_examples=60, deadline=None)
@given(some_rows())
def test_mistakes_are_the_wrong_answers_by_probability_of_the_predicted_label(rows: Rows) -> None:
    expected, predicted, probabilities = rows
    found = find_mistakes(*describe(len(expected)), expected, predicted, probabilities, names(probabilities.shape[1]))
    wrong = [number for number in range(len(expected)) if expected[number] != predicted[number]]
    oracle = sorted(wrong, key=lambda number: -probabilities[number, predicted[number]])[:20]
    assert [number_of(mistake.row) for mistake in found] == oracle
    for mistake, number in zip(found, oracle, strict=True):
        assert mistake.text == f"text {number}"
        assert (mistake.expected, mistake.predicted) == (f"label {expected[number]}", f"label {predicted[number]}")
        assert mistake.probability == probabilities[number, predicted[number]]


def test_a_label_predicted_by_a_threshold_counts_with_its_own_probability() -> None:
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    found = find_mistakes(*describe(3), np.array([0, 0, 1]), np.array([1, 1, 1]), probabilities, ("no", "yes"))
    assert [(mistake.row, mistake.predicted, mistake.probability) for mistake in found] == [
        ("test/1", "yes", 0.4),
        ("test/0", "yes", 0.3),
    ]


def test_without_mistakes_there_are_no_mistakes_and_no_confused_pairs() -> None:
    labels = np.array([0, 1, 1])
    arguments = (*describe(3), labels, labels, np.eye(2)[labels], ("no", "yes"))
    assert find_mistakes(*arguments) == []
    assert list_confused_pairs(*arguments) == []


def test_texts_of_a_pair_are_joined_and_long_ones_cut() -> None:
    assert join_texts(("one", "two")) == "one ⸱ two"
    assert join_texts(("x" * 3000,)) == "x" * 1000


def test_two_labels_are_confused_in_two_directions_each_with_its_five_surest_examples() -> None:
    expected = np.array([0] * 9 + [1] * 4)
    predicted = np.array([1] * 8 + [0] + [0] * 3 + [1])
    sure = np.linspace(0.55, 0.95, 13)
    probabilities = np.where(predicted[:, None] == [0, 1], sure[:, None], 1 - sure[:, None])
    pairs = list_confused_pairs(*describe(13), expected, predicted, probabilities, ("no", "yes"))
    assert [(pair.expected, pair.predicted, pair.count) for pair in pairs] == [("no", "yes", 8), ("yes", "no", 3)]
    assert [[example.row for example in pair.examples] for pair in pairs] == [
        ["test/7", "test/6", "test/5", "test/4", "test/3"],
        ["test/11", "test/10", "test/9"],
    ]


def test_a_direction_that_never_happened_is_left_out() -> None:
    pairs = list_confused_pairs(*describe(2), np.array([0, 1]), np.array([1, 1]), np.full((2, 2), 0.5), ("no", "yes"))
    assert [(pair.expected, pair.predicted, pair.count) for pair in pairs] == [("no", "yes", 1)]


@settings(max_examples=60, deadline=None)
@given(some_rows(most=120))
def test_the_twelve_most_frequent_directions_are_listed_with_true_counts(rows: Rows) -> None:
    expected, predicted, probabilities = rows
    classes = probabilities.shape[1]
    pairs = list_confused_pairs(*describe(len(expected)), expected, predicted, probabilities, names(classes))
    counts = {
        (truth, answer): sum(
            1 for one, other in zip(expected, predicted, strict=True) if (one, other) == (truth, answer)
        )
        for truth in range(classes)
        for answer in range(classes)
        if truth != answer
    }
    oracle = [entry for entry in sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])) if entry[1]][:12]
    assert [((pair.expected, pair.predicted), pair.count) for pair in pairs] == [
        ((f"label {truth}", f"label {answer}"), count) for (truth, answer), count in oracle
    ]
    assert all(len(pair.examples) == min(pair.count, 5) for pair in pairs)


def slow_confident_learning(expected: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return (row, suggested label), most doubted first, written from the paper: one row at a time.

    Northcutt, Jiang and Chuang 2021, the confident joint: a row labelled i is counted as j where p_j >= t_j, and j has the highest
    probability of the labels that reach their threshold; then, as in cleanlab, rows whose own label has the highest probability
    of the two are left out. Ties are decided with room for rounding, since t_j is a mean.
    """
    classes = probabilities.shape[1]
    thresholds: dict[int, float] = {}
    for label in range(classes):
        own = [probabilities[number, label] for number in range(len(expected)) if expected[number] == label]
        if own:
            thresholds[label] = sum(own) / len(own)
    found = []
    for number, label in enumerate(expected):
        row = probabilities[number]
        reached = [j for j, threshold in thresholds.items() if j != label and row[j] >= threshold - 1e-9]
        if not reached:
            continue
        suggested = min(reached, key=lambda j: (-row[j], j))
        if row[suggested] > row[label]:
            margin = row[label] - max(row[j] for j in range(classes) if j != label)
            found.append((margin, number, suggested))
    return [(number, suggested) for _, number, suggested in sorted(found)]


@settings(max_examples=60, deadline=None)
@given(some_rows(fewest=FEWEST_ROWS, most=90))
def test_doubts_equal_a_direct_reading_of_confident_learning(rows: Rows) -> None:
    expected, _, probabilities = rows
    doubts = find_label_doubts(*describe(len(expected)), expected, probabilities, names(probabilities.shape[1]))
    if len(set(expected)) < 2 or len(set(probabilities.argmax(axis=1))) < 2:
        assert doubts is None
        return
    oracle = slow_confident_learning(expected, probabilities)
    assert doubts is not None
    assert doubts.count == len(oracle)
    assert [(number_of(doubt.row), doubt.suggested) for doubt in doubts.rows] == [
        (number, f"label {suggested}") for number, suggested in oracle[:20]
    ]
    for doubt in doubts.rows:
        number = number_of(doubt.row)
        assert doubt.label == f"label {expected[number]}"
        assert doubt.probability_of_label == probabilities[number, expected[number]]
        assert doubt.probability_of_suggested == probabilities[number, int(doubt.suggested.split()[1])]
        assert doubt.probability_of_label < doubt.probability_of_suggested


def flipped_rows(count: int, share: float) -> tuple[NDArray[np.int64], set[int], NDArray[np.float64]]:
    """Return labels of three separable classes of which a share was flipped, which ones, and out-of-fold probabilities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, count)
    features = generator.normal(size=(count, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[truth]
    flipped = generator.choice(count, int(count * share), replace=False)
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + generator.integers(1, 3, len(flipped))) % 3
    probabilities = cross_val_predict(LogisticRegression(), features, labels, cv=5, method="predict_proba")
    return labels, set(flipped.tolist()), probabilities


def test_labels_flipped_at_random_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.mistakes.DOUBTS_SHOWN", 10_000)
    labels, flipped, probabilities = flipped_rows(2000, 0.08)
    doubts = find_label_doubts(*describe(2000), labels, probabilities, names(3))
    assert doubts is not None and doubts.count == len(doubts.rows)
    found = {number_of(doubt.row) for doubt in doubts.rows}
    # Chance would have a precision of 0.08. Recall is what the method gives up: a label must reach the mean of its own rows.
    assert len(found & flipped) / len(found) >= 0.97
    assert len(found & flipped) / len(flipped) >= 0.75
    most_doubted = {number_of(doubt.row) for doubt in doubts.rows[:100]}
    assert len(most_doubted & flipped) >= 98


def test_at_most_twenty_are_shown_and_all_are_counted() -> None:
    labels, _, probabilities = flipped_rows(1000, 0.08)
    doubts = find_label_doubts(*describe(1000), labels, probabilities, names(3))
    assert doubts is not None
    assert len(doubts.rows) == 20 < doubts.count


def test_the_suggested_label_reaches_its_own_threshold_even_where_another_is_more_probable() -> None:
    # Label 2 is given 0.9 on its own rows, so 0.5 on a row of label 0 says little; label 1 is given 0.3 at most anywhere.
    own = {0: [0.8, 0.1, 0.1], 1: [0.35, 0.4, 0.25], 2: [0.05, 0.05, 0.9]}
    labels = np.array([0, 1, 2] * 20 + [0])
    probabilities = np.array([own[label] for label in labels[:-1]] + [[0.05, 0.42, 0.53]])
    doubts = find_label_doubts(*describe(61), labels, probabilities, names(3))
    assert doubts is not None
    assert [(doubt.row, doubt.label, doubt.suggested) for doubt in doubts.rows] == [("test/60", "label 0", "label 1")]


def test_a_label_without_rows_is_never_suggested_and_the_method_says_so() -> None:
    labels = np.array([0, 1] * 30)
    probabilities = np.where(labels[:, None] == [0, 1, 2], 0.8, 0.1)
    probabilities[0] = [0.02, 0.08, 0.9]
    doubts = find_label_doubts(*describe(60), labels, probabilities, names(3))
    assert doubts is not None
    assert doubts.rows == []
    assert "1 of 3 labels have no row" in doubts.method
    whole = find_label_doubts(*describe(60), labels, probabilities[:, :2], names(2))
    assert whole is not None
    assert "no row" not in whole.method


def test_few_rows_one_label_or_a_collapsed_model_give_no_doubts() -> None:
    labels = np.array([0, 1] * 30)
    probabilities = np.where(labels[:, None] == [0, 1], 0.8, 0.2)
    arguments = describe(60)
    assert find_label_doubts(*arguments, labels, probabilities, names(2)) is not None
    assert find_label_doubts(*describe(49), labels[:49], probabilities[:49], names(2)) is None
    assert find_label_doubts(*arguments, np.zeros(60, dtype=int), probabilities, names(2)) is None
    assert find_label_doubts(*arguments, labels, np.tile([0.3, 0.7], (60, 1)), names(2)) is None
