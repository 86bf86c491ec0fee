"""The topic shortcut: a likeness that scikit-learn agrees with, and what it can and can't tell."""

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from finetune.data import Split, TaskData
from finetune.next_sentence import build_sentence_pairs
from finetune.records import DataRecord
from finetune.task import Part
from finetune.topic_shortcut import measure_likeness, topic_shortcut_probabilities

TOPICS = ("ball goal match team", "bank rate share money", "cell gene virus drug")


def write_stories(documents: int, words: Sequence[str], seed: int) -> list[str]:
    """Return documents of ten sentences, each about one of the topics, in turn."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(f"The {' '.join(generator.choice(words[number % len(words)].split(), 4))} stood." for _ in range(10))
        for number in range(documents)
    ]


def pair_up(texts: list[str], part: Part, seed: int) -> Dataset:
    rows = [f"{part}/{number}" for number in range(len(texts))]
    return build_sentence_pairs(Dataset.from_dict({"row": rows, "text": texts}), "next_sentence", seed, part=part)


def as_data(examples: Mapping[Part, Dataset]) -> TaskData:
    splits = {part: Split(part, rows, part, len(rows)) for part, rows in examples.items()}
    return TaskData(splits, ("IsNext", "NotNext"), (), cast(DataRecord, None))


def accuracy_on(words: Sequence[str]) -> float:
    train, test = (pair_up(write_stories(30, words, seed), part, seed) for seed, part in ((0, "train"), (1, "test")))
    probabilities = topic_shortcut_probabilities(as_data({"train": train, "test": test}))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert probabilities.shape == (len(test), 2)
    return float((probabilities.argmax(axis=1) == np.array(test["label"])).mean())


def test_the_shortcut_tells_strangers_of_other_topics_and_none_of_the_same() -> None:
    # A third of the strangers are of the same topic by chance.
    assert 0.75 < accuracy_on(TOPICS) < 0.92
    assert accuracy_on(TOPICS[:1]) < 0.6


def test_likeness_is_the_cosine_of_scikit_learn() -> None:
    pairs = Dataset.from_dict({"text": ["a red dog", "a cat", "zebra"], "text_pair": ["the red cat", "a cat", "dog"]})
    vectoriser = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b").fit([*pairs["text"][:2], *pairs["text_pair"]])
    first, second = (vectoriser.transform(list(pairs[name])) for name in ("text", "text_pair"))
    np.testing.assert_allclose(measure_likeness(vectoriser, pairs), np.diag(cosine_similarity(first, second)))
    assert measure_likeness(vectoriser, pairs)[2] == 0


def test_texts_without_words_leave_the_shares_of_the_labels() -> None:
    pairs = Dataset.from_dict({"text": ["!", "?", "."], "text_pair": ["..", "-", "–"], "label": [0, 1, 0]})
    probabilities = topic_shortcut_probabilities(as_data({"train": pairs, "test": pairs}))
    np.testing.assert_allclose(probabilities, np.tile([2 / 3, 1 / 3], (3, 1)))
