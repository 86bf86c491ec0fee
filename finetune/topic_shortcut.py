"""What next-sentence prediction has to beat: the likeness of topics alone, since a stranger comes from another document.

Owns that one baseline. It sees the same train and test pairs as the model, each as a single number: the cosine of the TF-IDF vectors
of its two texts.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.baselines import MAXIMUM_TRAIN_ROWS, WORD, majority_probabilities
from finetune.data import TaskData
from finetune.data_checks import read_column, read_labels

if TYPE_CHECKING:
    from datasets import Dataset
    from sklearn.feature_extraction.text import TfidfVectorizer


def topic_shortcut_probabilities(data: TaskData) -> NDArray[np.float64]:
    """Return the answers of a logistic regression over the likeness of each test pair, (rows, classes)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = data.splits["train"].examples, data.splits["test"].examples
    if len(train) > MAXIMUM_TRAIN_ROWS:
        train = train.shuffle(seed=0).select(range(MAXIMUM_TRAIN_ROWS))
    labels = read_labels(train)
    assert labels is not None
    vectoriser = TfidfVectorizer(token_pattern=WORD)
    # A sentence that stands in several pairs counts once.
    texts = sorted({*read_column(train, "text"), *read_column(train, "text_pair")})
    try:
        vectoriser.fit(texts)
        classifier = LogisticRegression().fit(measure_likeness(vectoriser, train)[:, None], labels)
    except ValueError:
        # No text holds a single word, or all pairs carry one label.
        return majority_probabilities(labels, len(test), len(data.label_names))
    found = np.zeros((len(test), len(data.label_names)))
    found[:, classifier.classes_] = classifier.predict_proba(measure_likeness(vectoriser, test)[:, None])
    return found


def measure_likeness(vectoriser: "TfidfVectorizer", pairs: "Dataset") -> NDArray[np.float64]:
    """Return the cosine of the two texts of each pair (rows,), 0 where one holds no word of the vocabulary."""
    first, second = (vectoriser.transform(read_column(pairs, name)) for name in ("text", "text_pair"))
    return np.asarray(first.multiply(second).sum(axis=1), dtype=np.float64).ravel()
