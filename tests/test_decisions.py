"""Temperature and threshold: fitted on dev as stated, applied everywhere alike, refused where they make no sense."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from finetune import load_recipe, load_run, run_recipe
from finetune.answers import build_answers, predicted_labels
from finetune.decisions import choose_threshold, decide, fit_decision, fit_temperature, read_decision, temper
from finetune.errors import DataError, RecipeError
from finetune.findings import Decision
from finetune.metrics import score
from finetune.recipe_sections import Costs, EvaluateSettings
from finetune.run_dir import RunDir, read_predictions
from finetune.scores import pick
from tests.cli_calls import write_recipe


def overconfident_rows(count: int, temperature: float, classes: int = 3) -> tuple[NDArray, NDArray]:
    """Return labels drawn from honest probabilities, and the probabilities of a model whose logits are too large."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=1.5, size=(count, classes))
    honest = scipy.special.softmax(logits, axis=1)
    expected = np.array([generator.choice(classes, p=row) for row in honest])
    return expected, scipy.special.softmax(logits * temperature, axis=1)


def binary(seed: int, count: int, digits: int = 3) -> tuple[NDArray, NDArray]:
    """Return labels and probabilities of two classes, with ties where there are few digits."""
    generator = np.random.default_rng(seed)
    expected = generator.integers(0, 2, count)
    expected[0], expected[1] = 0, 1
    scores = np.round(scipy.special.expit(generator.normal(size=count) + expected), digits)
    return expected, np.column_stack([1 - scores, scores])


@pytest.mark.parametrize("temperature", [0.5, 2.0, 4.0])
def test_the_temperature_that_made_a_model_overconfident_is_found_again(temperature: float) -> None:
    expected, probabilities = overconfident_rows(20_000, temperature)
    assert fit_temperature(expected, probabilities) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_has_a_lower_log_loss_on_dev() -> None:
    expected, probabilities = overconfident_rows(500, 3.0)
    fitted = fit_temperature(expected, probabilities)

    def loss(temperature: float) -> float:
        return sklearn.metrics.log_loss(expected, temper(probabilities, temperature))

    assert all(loss(fitted) <= loss(other) + 1e-9 for other in np.geomspace(0.1, 10, 400))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.1, 10))
def test_tempering_divides_logits_and_keeps_the_order_of_labels(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(scale=3, size=(5, 4))
    found = temper(scipy.special.softmax(logits, axis=1), temperature)
    np.testing.assert_allclose(found, scipy.special.softmax(logits / temperature, axis=1), atol=1e-12)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_allclose(temper(found, 1 / temperature), scipy.special.softmax(logits, axis=1), atol=1e-9)


def test_a_probability_of_zero_stays_zero_at_any_temperature() -> None:
    assert temper(np.array([[0.0, 1.0]]), 3.0).tolist() == [[0.0, 1.0]]


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(4, 60), digits=st.integers(1, 6))
def test_no_threshold_is_better_on_dev_than_the_chosen_one(seed: int, count: int, digits: int) -> None:
    expected, probabilities = binary(seed, count, digits)
    chosen = choose_threshold(expected, probabilities, "f1")
    values = [
        sklearn.metrics.f1_score(expected, probabilities[:, 1] >= threshold, zero_division=0)
        for threshold in [*np.unique(probabilities[:, 1]), 0.0, 0.5, 1.0]
    ]
    found = sklearn.metrics.f1_score(expected, probabilities[:, 1] >= chosen, zero_division=0)
    assert found == pytest.approx(max(values), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000), ratio=st.sampled_from([0.1, 0.5, 1.0, 3.0, 10.0]))
def test_the_threshold_of_a_cost_is_that_of_least_cost(seed: int, ratio: float) -> None:
    expected, probabilities = binary(seed, 50)

    def cost(threshold: float) -> float:
        positive = probabilities[:, 1] >= threshold
        return ratio * (positive & (expected == 0)).sum() + (~positive & (expected == 1)).sum()

    chosen = choose_threshold(expected, probabilities, Costs(false_positive=ratio, false_negative=1.0))
    assert cost(chosen) == pytest.approx(min(cost(value) for value in [*np.unique(probabilities[:, 1]), 0.5, 1.1]))


def test_honest_probabilities_are_cut_where_the_costs_say() -> None:
    # Predict positive where p >= false_positive / (false_positive + false_negative) (Elkan 2001).
    generator = np.random.default_rng(1)
    scores = generator.random(200_000)
    expected = (generator.random(200_000) < scores).astype(int)
    costs = Costs(false_positive=1.0, false_negative=4.0)
    chosen = choose_threshold(expected, np.column_stack([1 - scores, scores]), costs)
    assert chosen == pytest.approx(0.2, abs=0.02)


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert choose_threshold(np.array([0, 1]), probabilities, "accuracy") == pytest.approx(0.5)


def test_a_threshold_moves_labels_and_no_probability() -> None:
    expected, probabilities = binary(3, 100)
    decision = fit_decision(expected, probabilities, EvaluateSettings(threshold="recall"))
    answers = decide(expected, probabilities, decision)
    assert score("recall", answers).value == 1.0
    np.testing.assert_array_equal(answers.probabilities, probabilities)
    plain = build_answers(expected, probabilities)
    assert score("log_loss", answers) == score("log_loss", plain)
    assert (answers.predicted == predicted_labels(probabilities, decision.threshold)).all()


def test_costs_and_metrics_say_what_they_were_chosen_for() -> None:
    expected, probabilities = binary(3, 100)
    costs = EvaluateSettings(threshold=Costs(false_positive=1.0, false_negative=5.0))
    assert fit_decision(expected, probabilities, costs).chosen_for == (
        "least cost, 1 a false positive and 5 a false negative"
    )
    assert fit_decision(expected, probabilities, EvaluateSettings(threshold="f1")).chosen_for == "best F1"


def test_a_damaged_decision_is_refused_by_name(tmp_path: Path) -> None:
    assert read_decision(tmp_path / "decision.json") is None
    for content in ("", "{", '{"predictor": "model", "temperature": "hot", "dev_rows": 3}'):
        (tmp_path / "decision.json").write_text(content)
        with pytest.raises(DataError, match=r"decision\.json: not a decision of this program"):
            read_decision(tmp_path / "decision.json")


@pytest.mark.parametrize(
    ("override", "saying"),
    [
        ("evaluate.threshold=acuracy", r"evaluate\.threshold: found 'acuracy'.*did you mean 'accuracy'\?"),
        ("evaluate.threshold=log_loss", r"evaluate\.threshold: found 'log_loss', allowed are costs or one of matthews"),
        ("evaluate.threshold={false_positive: 1.0}", r"threshold.*false_negative"),
        ("evaluate.threshold={false_positive: 0.0, false_negative: 1.0}", "false_positive: found 0.0"),
    ],
)
def test_a_wrong_threshold_is_a_recipe_error(work: Path, tiny_bert: Path, override: str, saying: str) -> None:
    write_recipe(work / "r.yaml", tiny_bert)
    with pytest.raises(RecipeError, match=saying):
        load_recipe("r.yaml", [override])


def test_nothing_is_fitted_on_dev_where_nothing_is_trained(work: Path, tiny_bert: Path) -> None:
    write_recipe(work / "r.yaml", tiny_bert)
    with pytest.raises(RecipeError, match="fitted on dev rows, of which train: null has none"):
        load_recipe("r.yaml", ["train=null", "evaluate.temperature=true"])


def test_a_threshold_among_three_labels_is_refused_before_training(work: Path, tiny_bert: Path) -> None:
    write_recipe(work / "r.yaml", tiny_bert)
    lines = (work / "rows.csv").read_text().splitlines()
    lines += [f"another text {number},third" for number in range(20)]
    (work / "rows.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RecipeError, match=r"evaluate\.threshold: a threshold tells two labels apart, here are 3"):
        run_recipe(load_recipe("r.yaml", ["evaluate.threshold=macro_f1"]), work / "run")
    assert not (work / "run").exists()


@pytest.mark.end_to_end
@pytest.mark.parametrize("seeds", ["[1]", "[1,2]"])
def test_a_run_fits_on_dev_reports_both_and_predicts_with_both(work: Path, tiny_bert: Path, seeds: str) -> None:
    write_recipe(work / "r.yaml", tiny_bert, rows=300)
    overrides = ["train.max_steps=40", "evaluate.temperature=true", "evaluate.threshold=recall", f"seeds={seeds}"]
    run = run_recipe(load_recipe("r.yaml", overrides), work / "run")
    report = run.report
    dev = next(split for split in report.data.splits if split.part == "dev")
    count = 1 if seeds == "[1]" else 2
    assert len(report.decisions) == (1 if count == 1 else 3)
    assert all(decision.dev_rows == dev.rows and decision.threshold is not None for decision in report.decisions)
    assert {entry.name for entry in report.undecided} == {entry.name for entry in report.scores if entry.slice == "all"}
    saved = Decision.model_validate(json.loads(RunDir(run.path).decision.read_text()))
    assert saved.temperature is not None and saved.threshold is not None
    # The model's answers in predictions.jsonl are those that it gives to the same texts now.
    folder = RunDir(run.path) if count == 1 else RunDir(run.path).seed(report.saved_seed)
    kept = list(read_predictions(folder.predictions))
    texts = [json.loads(line)["texts"][0] for line in RunDir(run.path).rows.read_text().splitlines()]
    for prediction, answer in zip(kept, load_run(run.path).predict(texts), strict=True):
        assert prediction.predicted == answer.label
        np.testing.assert_allclose(prediction.probabilities, list(answer.probabilities.values()), atol=1e-5)
    # Probabilities are other than without a temperature, and the areas, which only see their order, are not.
    before, after = (
        {name: pick(scores, name) for name in ("log_loss", "roc_auc")} for scores in (report.undecided, report.scores)
    )
    assert before["log_loss"] is not None and after["log_loss"] is not None
    assert before["log_loss"].value != after["log_loss"].value
    if count == 1:
        assert before["roc_auc"] is not None and after["roc_auc"] is not None
        assert before["roc_auc"].value == pytest.approx(after["roc_auc"].value)
