"""finetune.weighted_metrics: every metric of weighted rows against the metric of the rows themselves, and scikit-learn."""

import math
import tracemalloc
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.answers import Answers, build_answers
from finetune.metric import KINDS
from finetune.metrics import METRICS, list_metrics, score
from finetune.weighted_classes import WeightedClasses, count_values, needs_labels_only, tally, tally_values
from finetune.weighted_metrics import weigh
from tests.made_answers import CLASS_METRICS, LABEL_METRICS, OF_TWO_CLASSES, make_answers, make_kind, metrics_for


@st.composite
def answers_of_a_run(draw: st.DrawFn) -> Answers:
    """Draw answers with many ties, collapsed models and absent classes among them."""
    classes, count = draw(st.integers(2, 4)), draw(st.integers(1, 12))
    expected = draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    masses = np.array(
        draw(st.lists(st.tuples(*[st.integers(0, 3)] * classes), min_size=count, max_size=count)), dtype=np.float64
    )
    masses[masses.sum(axis=1) == 0] = 1
    predicted = draw(st.none() | st.lists(st.integers(0, classes - 1), min_size=count, max_size=count))
    return build_answers(expected, masses / masses.sum(axis=1, keepdims=True), predicted)


def direct(name: str, answers: Answers, rows: np.ndarray) -> float:
    """Return the metric of rows that really stand there as often as they were drawn, NaN where it is undefined."""
    value = score(name, answers[rows]).value
    return math.nan if value is None else value


@settings(max_examples=80, deadline=None)
@given(answers=answers_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_weighted_values_equal_the_metric_of_the_resampled_rows(answers: Answers, seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(answers), (3, len(answers)))
    counts = np.stack([np.bincount(rows, minlength=len(answers)) for rows in chosen])
    names = metrics_for(answers.classes)
    whole, others = (WeightedClasses(answers).values(names, counts.astype(kind)) for kind in (np.int32, np.float64))
    for name in names:
        expected = [direct(name, answers, rows) for rows in chosen]
        np.testing.assert_allclose(whole[name], expected, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(others[name], expected, atol=1e-12, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(answers=answers_of_a_run())
def test_weights_of_one_give_the_value_and_zero_weights_none_without_a_warning(answers: Answers) -> None:
    weights = np.array([[1], [0]], dtype=np.int32) * np.ones(len(answers), dtype=np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = WeightedClasses(answers).values(metrics_for(answers.classes), weights)
    for name, (of_all, of_none) in values.items():
        np.testing.assert_allclose(of_all, direct(name, answers, np.arange(len(answers))), atol=1e-12, err_msg=name)
        assert math.isnan(of_none), name


@settings(max_examples=50, deadline=None)
@given(answers=answers_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_changes_nothing(answers: Answers, seed: int) -> None:
    generator = np.random.default_rng(seed)
    weights, order = generator.integers(0, 4, (2, len(answers)), dtype=np.int32), generator.permutation(len(answers))
    names = metrics_for(answers.classes)
    before, after = (
        WeightedClasses(answers).values(names, weights),
        WeightedClasses(answers[order]).values(names, weights[:, order]),
    )
    for name in names:
        np.testing.assert_allclose(before[name], after[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("digits", [0, 1, 12])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [("roc_auc", sklearn.metrics.roc_auc_score), ("pr_auc", sklearn.metrics.average_precision_score)],
)
def test_weighted_areas_equal_scikit_learn_with_and_without_ties(digits: int, name: str, oracle: object) -> None:
    answers = make_answers(300, digits=digits)
    for weights in (
        np.random.default_rng(1).uniform(0, 3, (20, 300)),
        np.random.default_rng(1).integers(0, 3, (20, 300), dtype=np.int32),
    ):
        values = WeightedClasses(answers).values([name], weights)[name]
        expected = [oracle(answers.expected, answers.probabilities[:, 1], sample_weight=row) for row in weights]  # type: ignore[operator]
        np.testing.assert_allclose(values, expected, atol=1e-12)


def test_areas_of_many_rows_are_exact_in_whole_numbers() -> None:
    answers = make_answers(70_000, digits=3)
    weights = np.random.default_rng(0).integers(0, 40, (1, 70_000), dtype=np.int32)
    values = WeightedClasses(answers).values(["roc_auc", "pr_auc"], weights)
    expected, scores = answers.expected, answers.probabilities[:, 1]
    assert values["roc_auc"][0] == pytest.approx(
        sklearn.metrics.roc_auc_score(expected, scores, sample_weight=weights[0]), abs=1e-12
    )
    assert values["pr_auc"][0] == pytest.approx(
        sklearn.metrics.average_precision_score(expected, scores, sample_weight=weights[0]), abs=1e-12
    )


@settings(max_examples=50, deadline=None)
@given(answers=answers_of_a_run())
def test_metrics_of_labels_follow_from_the_confusion_counts_of_scikit_learn(answers: Answers) -> None:
    counts = sklearn.metrics.confusion_matrix(
        answers.expected, answers.predicted, labels=range(answers.classes)
    ).astype(np.float64)
    for name in set(LABEL_METRICS) & set(metrics_for(answers.classes)):
        expected = direct(name, answers, np.arange(len(answers)))
        np.testing.assert_allclose(count_values(name, counts[np.newaxis]), [expected], atol=1e-12, err_msg=name)


@settings(max_examples=50, deadline=None)
@given(answers=answers_of_a_run(), seed=st.integers(0, 2**32 - 1))
def test_tallies_of_parts_add_up_to_those_of_the_whole(answers: Answers, seed: int) -> None:
    generator = np.random.default_rng(seed)
    one, other = generator.integers(0, 4, (2, 3, len(answers)))
    together, whole = tally(answers, one) + tally(answers, other), tally(answers, one + other)
    for name in set(LABEL_METRICS) - OF_TWO_CLASSES:
        np.testing.assert_array_equal(tally_values(name, together), tally_values(name, whole))
    assert whole.expected.sum(axis=1).tolist() == (one + other).sum(axis=1).tolist()


def test_every_metric_has_a_formula_for_each_kind_that_the_registry_says() -> None:
    assert {name: needs_labels_only(name) for name in CLASS_METRICS} == {
        name: METRICS[name].needs == "labels" for name in CLASS_METRICS
    }
    for kind in KINDS:
        names = list_metrics(kind)
        assert set(weigh(make_kind(kind, 30)).values(names, np.ones((1, 30)))) == set(names)


def test_a_thousand_classes_take_no_square_of_their_number() -> None:
    answers = make_answers(2000, classes=1000, signal=8.0)
    weights = np.random.default_rng(0).integers(0, 3, (50, 2000), dtype=np.int32)
    tracemalloc.start()
    tallies = tally(answers, weights)
    values = {name: tally_values(name, tallies) for name in set(LABEL_METRICS) - OF_TWO_CLASSES}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 50 versions of a million confusion counts would be 400 megabytes.
    assert peak < 20e6
    rows = np.repeat(np.arange(2000), weights[0])
    for name, found in values.items():
        assert found[0] == pytest.approx(direct(name, answers, rows), abs=1e-12), name
