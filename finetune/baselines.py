"""What a model has to beat: the best constant answer, and a bag of words, for classes, numbers and sets of labels.

Owns these baselines. They see the same train and test rows as the model and are scored the same way; which objective has which of them
is `baseline_answers`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.data import TaskData, texts_of
from finetune.data_checks import read_labels
from finetune.row_store import cut_rows

if TYPE_CHECKING:
    from datasets import Dataset

MAJORITY = "majority class"
BAG_OF_WORDS = "bag of words"
# Enough to learn what words say; keeps the baseline to seconds on data of any size.
WORD = r"(?u)\b\w+\b"
MAXIMUM_TRAIN_ROWS = 100_000


def majority_probabilities(train_labels: NDArray, rows: int, classes: int) -> NDArray[np.float64]:
    """Return the label shares of train for every row, (rows, classes): the best constant answer."""
    shares = np.bincount(train_labels, minlength=classes) / len(train_labels)
    return np.tile(shares, (rows, 1))


def bag_of_words_probabilities(data: TaskData) -> NDArray[np.float64]:
    """Return the answers of a logistic regression over word counts, (rows, classes)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train_texts, labels, test = _read_rows(data)
    classifier = make_pipeline(CountVectorizer(token_pattern=WORD, binary=True), LogisticRegression(max_iter=1000))
    try:
        classifier.fit(train_texts, labels)
    except ValueError:
        # No text holds a single word.
        return majority_probabilities(labels, len(test), len(data.label_names))
    found = np.zeros((len(test), len(data.label_names)))
    found[:, classifier.classes_] = _ask(classifier.predict_proba, test)
    return found


def bag_of_words_numbers(data: TaskData) -> NDArray[np.float64]:
    """Return the numbers of a ridge regression over word counts, (rows,)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    train_texts, numbers, test = _read_rows(data)
    regression = make_pipeline(CountVectorizer(token_pattern=WORD, binary=True), Ridge(random_state=0))
    try:
        regression.fit(train_texts, numbers)
    except ValueError:
        return np.full(len(test), np.mean(numbers))
    return _ask(regression.predict, test)


def label_shares(labels: NDArray) -> NDArray[np.float64]:
    """Return the share of rows that have each label (labels,), of `labels` (rows, labels)."""
    return np.asarray(labels, dtype=np.float64).mean(axis=0)


def bag_of_words_label_sets(data: TaskData) -> NDArray[np.float64]:
    """Return the probabilities of one logistic regression a label over word counts, (rows, labels)."""
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train_texts, labels, test = _read_rows(data)
    found = np.tile(label_shares(labels), (len(test), 1))
    words = CountVectorizer(token_pattern=WORD, binary=True)
    try:
        counted = words.fit_transform(train_texts)
    except ValueError:
        return found
    of_test = vstack([words.transform(_join_texts(part)) for part in cut_rows(test)], format="csr")
    for label in range(labels.shape[1]):
        # A label that all rows have, or none, teaches nothing.
        if len(np.unique(labels[:, label])) == 2:
            fitted = LogisticRegression(max_iter=1000).fit(counted, labels[:, label])
            found[:, label] = fitted.predict_proba(of_test)[:, 1]
    return found


def _read_rows(data: TaskData) -> "tuple[list[str], NDArray, Dataset]":
    """Return the texts and labels of train, at most 100,000 rows of it, and the rows of test."""
    train, test = data.splits["train"].examples, data.splits["test"].examples
    if len(train) > MAXIMUM_TRAIN_ROWS:
        train = train.shuffle(seed=0).select(range(MAXIMUM_TRAIN_ROWS))
    labels = read_labels(train)
    assert labels is not None
    return _join_texts(train), labels, test


def _join_texts(examples: "Dataset") -> list[str]:
    return [" ".join(texts) for texts in texts_of(examples)]


def _ask(answer: Callable[[list[str]], NDArray], test: "Dataset") -> NDArray[np.float64]:
    """Return what a fitted baseline answers to each row, (rows, ...)."""
    return np.concatenate([np.asarray(answer(_join_texts(part)), dtype=np.float64) for part in cut_rows(test)])
