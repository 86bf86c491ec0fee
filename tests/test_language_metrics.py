"""finetune.language_metrics and weighted_language: ratios of sums, undefined cases, resampled rows, which sentence follows."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.answers import LanguageAnswers, build_answers, build_language_answers
from finetune.metrics import MetricValue, get_metric, list_metrics, score
from finetune.weighted_language import WeightedTexts
from tests.made_answers import make_likelihoods

NAMES = list_metrics(LanguageAnswers)


@st.composite
def likelihoods_of_a_run(draw: st.DrawFn) -> LanguageAnswers:
    """Draw texts, empty ones and hopeless models among them."""
    count = draw(st.integers(1, 10))
    rows = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.5, 30.0, 3000.0]), st.integers(0, 9))
    tokens, right, losses, text_bytes = np.array(draw(st.lists(rows, min_size=count, max_size=count))).T
    says = draw(st.none() | st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=count, max_size=count))
    follows = None
    if says is not None:
        labels, shares = zip(*says, strict=True)
        follows = build_answers(labels, np.stack([1 - np.array(shares), shares], axis=1))
    return build_language_answers(losses * tokens, tokens, np.minimum(right, tokens), text_bytes, follows)


def test_a_long_text_counts_as_much_as_its_tokens() -> None:
    answers = build_language_answers([2.0, 30.0], [2, 10], [1, 2], [8, 40])
    assert score("token_loss", answers).value == pytest.approx(32 / 12)
    assert score("perplexity", answers).value == pytest.approx(math.exp(32 / 12))
    assert score("token_accuracy", answers).value == 0.25
    assert score("bits_per_byte", answers).value == pytest.approx(32 / math.log(2) / 48)


def test_a_model_that_knows_nothing_of_256_bytes_needs_eight_bits_for_each() -> None:
    answers = build_language_answers([100 * math.log(256)], [100], [0], [100])
    assert score("bits_per_byte", answers).value == pytest.approx(8)
    assert score("perplexity", answers).value == pytest.approx(256)


@pytest.mark.parametrize(
    ("answers", "name", "reason"),
    [
        (build_language_answers([0.0], [0], [0], [0]), "token_loss", "no token is predicted"),
        (build_language_answers([0.0], [0], [0], [0]), "perplexity", "no token is predicted"),
        (build_language_answers([1e6], [10], [0], [0]), "perplexity", "too large to be written down"),
        (build_language_answers([3.0], [2], [0], [0]), "bits_per_byte", "not every token of a text is predicted"),
        (
            build_language_answers([3.0], [2], [0], [9]),
            "next_sentence_loss",
            "the model isn't asked which sentence follows",
        ),
        (build_language_answers([], [], [], []), "token_loss", "no rows"),
    ],
)
def test_a_metric_without_a_value_has_a_reason(answers: LanguageAnswers, name: str, reason: str) -> None:
    assert score(name, answers) == MetricValue(None, reason)


def test_which_sentence_follows_is_scored_as_two_classes() -> None:
    answers = make_likelihoods(50)
    assert answers.next_sentence is not None
    for name, of_classes in {"next_sentence_accuracy": "accuracy", "next_sentence_loss": "log_loss"}.items():
        assert score(name, answers) == score(of_classes, answers.next_sentence)


def test_lower_is_better_of_all_but_the_shares_and_a_perplexity_is_one_at_least() -> None:
    assert {name for name in NAMES if get_metric(name).higher_is_better} == {"token_accuracy", "next_sentence_accuracy"}
    assert get_metric("perplexity").low == 1


@settings(max_examples=100, deadline=None)
@given(answers=likelihoods_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_weighted_values_equal_the_metric_of_the_repeated_rows(answers: LanguageAnswers, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(answers), (3, len(answers)))
    weights = np.stack([np.bincount(rows, minlength=len(answers)) for rows in chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = WeightedTexts(answers).values(NAMES, weights.astype(np.int32))
        for name in NAMES:
            direct = [score(name, answers[rows]).value for rows in chosen]
            expected = [math.nan if value is None else value for value in direct]
            np.testing.assert_allclose(values[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
