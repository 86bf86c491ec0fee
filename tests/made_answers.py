"""Answers of made-up models, of every kind, for the tests of what is computed from them.

Owns drawing them; what they should give is in the tests.
"""

import numpy as np

from finetune.answers import (
    Answers,
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_language_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.metric import Kind
from finetune.metrics import METRICS, list_metrics

CLASS_METRICS = list_metrics(Answers)
LABEL_METRICS = [name for name in CLASS_METRICS if METRICS[name].needs == "labels"]
OF_TWO_CLASSES = {"f1", "precision", "recall"}
OTHER_KINDS: list[Kind] = [RegressionAnswers, MultilabelAnswers, LanguageAnswers]


def metrics_for(classes: int) -> list[str]:
    """Return the metrics that are defined for so many classes."""
    return [name for name in CLASS_METRICS if classes == 2 or name not in OF_TWO_CLASSES]


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


def make_numbers(rows: int, *, seed: int = 0, digits: int = 1, noise: float = 1.0) -> RegressionAnswers:
    """Return numbers from 1 to 5, and those of a model that knows something of them; few digits make ties."""
    expected = np.random.default_rng(0).uniform(1, 5, rows)
    predicted = expected + np.random.default_rng([seed, 1]).normal(0, noise, rows)
    return build_regression_answers(np.round(expected, digits), np.round(predicted, digits))


def make_label_sets(rows: int, labels: int = 4, *, seed: int = 0, signal: float = 1.0) -> MultilabelAnswers:
    """Return which labels hold, the later the rarer, and what a model better than chance says of them."""
    expected = np.random.default_rng(0).random((rows, labels)) < np.linspace(0.5, 0.2, labels)
    logits = np.random.default_rng([seed, 1]).normal(size=(rows, labels)) + signal * (2 * expected - 1)
    return build_multilabel_answers(expected, np.round(1 / (1 + np.exp(-logits)), 2))


def make_likelihoods(rows: int, *, seed: int = 0, asks_next_sentence: bool = True) -> LanguageAnswers:
    """Return texts of very different lengths, and what a language model makes of them."""
    tokens = np.random.default_rng(0).geometric(0.05, rows)
    generator = np.random.default_rng([seed, 1])
    right = generator.binomial(tokens, 0.4)
    losses = generator.gamma(2.0, 1.5, rows) * tokens
    follows = answer(np.random.default_rng(0).integers(0, 2, rows), 2, generator) if asks_next_sentence else None
    return build_language_answers(losses, tokens, right, 4 * tokens, follows)


def make_kind(kind: Kind, rows: int, *, seed: int = 0) -> AnyAnswers:
    """Return answers of a kind; those of other seeds are what other models say of the same rows."""
    if kind is RegressionAnswers:
        return make_numbers(rows, seed=seed)
    if kind is MultilabelAnswers:
        return make_label_sets(rows, seed=seed)
    if kind is LanguageAnswers:
        return make_likelihoods(rows, seed=seed)
    first = make_answers(rows)
    return first if seed == 0 else answer_alike(first, seed=seed)
