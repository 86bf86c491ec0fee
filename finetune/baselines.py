"""What a model has to beat: the most frequent label, and a bag of words.

Owns the two baselines. They see the same train and test rows as the model and are scored the same way.
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

    train, test = data.splits["train"].examples, data.splits["test"].examples
    if len(train) > MAXIMUM_TRAIN_ROWS:
        train = train.shuffle(seed=0).select(range(MAXIMUM_TRAIN_ROWS))
    classifier = make_pipeline(CountVectorizer(token_pattern=WORD, binary=True), LogisticRegression(max_iter=1000))
    try:
        classifier.fit([" ".join(texts) for texts in texts_of(train)], train["label"])
    except ValueError:
        # No text holds a single word.
        return majority_probabilities(train["label"], len(test), len(data.label_names))
    found = np.zeros((len(test), len(data.label_names)))
    found[:, classifier.classes_] = classifier.predict_proba([" ".join(texts) for texts in texts_of(test)])
    return found
