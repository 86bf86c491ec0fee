"""Answers of made-up models, for the tests of what is computed from them.

Owns drawing them; what they should give is in the tests.
"""

import numpy as np

from finetune.answers import Answers, build_answers
from finetune.metrics import METRICS

LABEL_METRICS = [name for name, metric in METRICS.items() if metric.needs == "labels"]
OF_TWO_CLASSES = {"f1", "precision", "recall"}


def metrics_for(classes: int) -> list[str]:
    """Return the metrics that are defined for so many classes."""
    return [name for name in METRICS if classes == 2 or name not in OF_TWO_CLASSES]


def make_answers(rows: int, classes: int = 2, *, seed: int = 0, digits: int = 12, signal: float = 1.0) -> Answers:
    """Return the answers of a model better than chance; few digits make ties."""
    generator = np.random.default_rng(seed)
    return answer(generator.integers(0, classes, rows), classes, generator, digits=digits, signal=signal)


def answer(
    expected: np.ndarray, classes: int, generator: np.random.Generator, *, digits: int = 12, signal: float = 1.0
) -> Answers:
    """Return the answers of a model to rows with these labels."""
    logits = generator.normal(size=(len(expected), classes))
    logits[np.arange(len(expected)), expected] += signal
    masses = np.round(np.exp(logits), digits) + 10.0**-digits
    return build_answers(expected, masses / masses.sum(axis=1, keepdims=True))


def answer_alike(first: Answers, *, seed: int, share: float = 0.3) -> Answers:
    """Return the answers of a model that differs from another on a share of the rows, by chance."""
    generator = np.random.default_rng(seed)
    other = answer(first.expected, first.classes, generator)
    differs = generator.random(len(first)) < share
    return build_answers(first.expected, np.where(differs[:, np.newaxis], other.probabilities, first.probabilities))
