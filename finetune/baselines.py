"""What a model has to beat: the best constant answer, and a bag of words, for classes, numbers and sets of labels.

Owns these baselines. They see the same train and test rows as the model and are scored the same way; which objective has which of them
is `baseline_answers`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.data import TaskData, texts_of

MAJORITY = "majority class"
BAG_OF_WORDS = "bag of words"
# Enough to learn what words say; keeps the baseline to seconds on data of any size.
WORD = r"(?u)\b\w+\b"
MAXIMUM_TRAIN_ROWS = 100_000


def majority_probabilities(train_labels: Sequence[int], rows: int, classes: int) -> NDArray[np.float64]:
    """Return the label shares of train for every row, (rows, classes): the best constant answer."""
    shares = np.bincount(train_labels, minlength=classes) / len(train_labels)
    return np.tile(shares, (rows, 1))


def bag_of_words_probabilities(data: TaskData) -> NDArray[np.float64]:
    """Return the answers of a logistic regression over word counts, (rows, classes)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    train_texts, labels, test_texts = _read_texts(data)
    classifier = make_pipeline(CountVectorizer(token_pattern=WORD, binary=True), LogisticRegression(max_iter=1000))
    try:
        classifier.fit(train_texts, labels)
    except ValueError:
        # No text holds a single word.
        return majority_probabilities(labels, len(test_texts), len(data.label_names))
    found = np.zeros((len(test_texts), len(data.label_names)))
    found[:, classifier.classes_] = classifier.predict_proba(test_texts)
    return found


def bag_of_words_numbers(data: TaskData) -> NDArray[np.float64]:
    """Return the numbers of a ridge regression over word counts, (rows,)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    train_texts, numbers, test_texts = _read_texts(data)
    regression = make_pipeline(CountVectorizer(token_pattern=WORD, binary=True), Ridge(random_state=0))
    try:
        regression.fit(train_texts, numbers)
    except ValueError:
        return np.full(len(test_texts), np.mean(numbers))
    return np.asarray(regression.predict(test_texts), dtype=np.float64)


def label_shares(labels: NDArray) -> NDArray[np.float64]:
    """Return the share of rows that have each label (labels,), of `labels` (rows, labels)."""
    return np.asarray(labels, dtype=np.float64).mean(axis=0)


def bag_of_words_label_sets(data: TaskData) -> NDArray[np.float64]:
    """Return the probabilities of one logistic regression a label over word counts, (rows, labels)."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    train_texts, sets, test_texts = _read_texts(data)
    labels = np.asarray(sets)
    found = np.tile(label_shares(labels), (len(test_texts), 1))
    words = CountVectorizer(token_pattern=WORD, binary=True)
    try:
        counted = words.fit_transform(train_texts)
    except ValueError:
        return found
    of_test = words.transform(test_texts)
    for label in range(labels.shape[1]):
        # A label that all rows have, or none, teaches nothing.
        if len(np.unique(labels[:, label])) == 2:
            fitted = LogisticRegression(max_iter=1000).fit(counted, labels[:, label])
            found[:, label] = fitted.predict_proba(of_test)[:, 1]
    return found


def _read_texts(data: TaskData) -> tuple[list[str], list, list[str]]:
    """Return the texts and labels of train, at most 100,000 rows of it, and the texts of test; pairs are joined."""
    train, test = data.splits["train"].examples, data.splits["test"].examples
    if len(train) > MAXIMUM_TRAIN_ROWS:
        train = train.shuffle(seed=0).select(range(MAXIMUM_TRAIN_ROWS))
    joined = [[" ".join(texts) for texts in texts_of(examples)] for examples in (train, test)]
    return joined[0], list(train["label"]), joined[1]
