"""finetune.multilabel_metrics and weighted_multilabel: values against scikit-learn, labels without rows, resampled rows."""

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.answers import Answers, MultilabelAnswers, build_multilabel_answers
from finetune.metrics import MetricValue, list_metrics, score
from finetune.weighted_multilabel import WeightedLabelSets
from tests.made_answers import make_answers, make_label_sets

NAMES = list_metrics(MultilabelAnswers)


@st.composite
def label_sets_of_a_run(draw: st.DrawFn) -> MultilabelAnswers:
    """Draw sets of labels with many ties, empty sets and labels that never occur among them."""
    count, labels = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    cells = st.lists(st.tuples(*[st.integers(0, 1)] * labels), min_size=count, max_size=count)
    tenths = st.lists(st.tuples(*[st.integers(0, 10)] * labels), min_size=count, max_size=count)
    return build_multilabel_answers(np.array(draw(cells)), np.array(draw(tenths)) / 10)


def test_values_equal_scikit_learn_where_every_label_occurs() -> None:
    answers = make_label_sets(300)
    labels, scores = (answers.expected, answers.predicted), (answers.expected, answers.probabilities)
    oracles = {
        "macro_f1": sklearn.metrics.f1_score(*labels, average="macro"),
        "micro_f1": sklearn.metrics.f1_score(*labels, average="micro"),
        "subset_accuracy": sklearn.metrics.accuracy_score(*labels),
        "hamming_loss": sklearn.metrics.hamming_loss(*labels),
        "roc_auc": sklearn.metrics.roc_auc_score(*scores, average="macro"),
        "pr_auc": sklearn.metrics.average_precision_score(*scores, average="macro"),
    }
    assert set(oracles) == set(NAMES)
    for name, value in oracles.items():
        assert score(name, answers).value == pytest.approx(value, abs=1e-12), name


def test_labels_that_never_occur_are_left_out_of_the_means() -> None:
    answers = make_label_sets(100, labels=3)
    empty = np.zeros((100, 1))
    more = build_multilabel_answers(np.hstack([answers.expected, empty]), np.hstack([answers.probabilities, empty]))
    for name in ("macro_f1", "micro_f1", "roc_auc", "pr_auc"):
        assert score(name, more).value == pytest.approx(score(name, answers).value, abs=1e-12), name


def test_a_label_that_is_only_ever_predicted_has_an_f1_of_zero() -> None:
    answers = build_multilabel_answers([[1, 0], [0, 0]], [[0.9, 0.8], [0.1, 0.2]])
    assert score("macro_f1", answers).value == 0.5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("macro_f1", "no label holds for a row, or is predicted for one"),
        ("micro_f1", "no label holds for a row, or is predicted for one"),
        ("roc_auc", "no label holds for some of the rows and not for others"),
        ("pr_auc", "no label holds for some of the rows and not for others"),
    ],
)
def test_a_metric_without_any_label_has_a_reason(name: str, reason: str) -> None:
    assert score(name, build_multilabel_answers(np.zeros((4, 2)), np.full((4, 2), 0.2))) == MetricValue(None, reason)


def test_a_metric_of_another_kind_has_no_value_and_says_of_which_it_is() -> None:
    answers = make_label_sets(20)
    assert score("accuracy", answers) == MetricValue(None, "defined for classes only")
    assert score("hamming_loss", make_answers(20)) == MetricValue(None, "defined for several labels at once only")
    assert score("token_loss", answers) == MetricValue(None, "defined for likelihoods of text only")


@settings(max_examples=100, deadline=None)
@given(answers=label_sets_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_weighted_values_equal_the_metric_of_the_repeated_rows(answers: MultilabelAnswers, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(answers), (3, len(answers)))
    weights = np.stack([np.bincount(rows, minlength=len(answers)) for rows in chosen])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = WeightedLabelSets(answers).values(NAMES, weights.astype(np.int32))
        for name in NAMES:
            direct = [score(name, answers[rows]).value for rows in chosen]
            expected = [math.nan if value is None else value for value in direct]
            np.testing.assert_allclose(values[name], expected, atol=1e-12, err_msg=name)


@settings(max_examples=60, deadline=None)
@given(answers=label_sets_of_a_run())
def test_every_value_is_in_range_or_none_with_a_reason_and_never_warns(answers: MultilabelAnswers) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = [score(name, answers) for name in NAMES]
    assert all((value.value is None) == bool(value.reason) for value in values)
    assert all(value.value is None or -1e-12 <= value.value <= 1 + 1e-12 for value in values)


def test_one_label_has_the_areas_and_the_f1_of_two_classes() -> None:
    classes = make_answers(200)
    alone = build_multilabel_answers(classes.expected[:, np.newaxis], classes.probabilities[:, 1:])
    as_classes = Answers(classes.expected, alone.predicted[:, 0].astype(np.int64), classes.probabilities)
    for name, other in {"macro_f1": "f1", "micro_f1": "f1", "roc_auc": "roc_auc", "pr_auc": "pr_auc"}.items():
        assert score(name, alone).value == pytest.approx(score(other, as_classes).value, abs=1e-12), name
