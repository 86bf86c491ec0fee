"""Regression and multi-label classification: losses against torch's, cuts of a batch, weights, heads, bad settings, whole runs."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from finetune import load_recipe, load_run, run_recipe
from finetune.batching import Slot, plan_batch
from finetune.checkpoint import Checkpoint
from finetune.errors import RecipeError, SettingError
from finetune.features import Features
from finetune.model import load_model
from finetune.objective import StartsHead, TrainedObjective
from finetune.objectives import multilabel, regression
from finetune.objectives.multilabel import Multilabel
from finetune.objectives.regression import Regression
from finetune.packing import Packer
from finetune.predictions import read_answers
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.scores import pick
from finetune.start import load_config, load_tokenizer, open_start
from finetune.training import train_model
from tests.same_training import read_events
from tests.tiny import build_sentences, build_tiny_checkpoint

NAMES = {"regression": (), "multilabel": ("walks", "long", "never")}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)
    return Checkpoint(folder, "tiny", "0" * 64)


def objective_of(kind: str, checkpoint: Checkpoint) -> Regression | Multilabel:
    tokenizer, layout = load_tokenizer(checkpoint), Packer(is_narrow=True)
    if kind == "regression":
        return Regression(tokenizer, 64, layout, train_mean=3.5)
    return Multilabel(tokenizer, 64, layout, (2.0, 1.0, 5.0))


def examples_of(kind: str, rows: int) -> Dataset:
    """Return rows whose words tell their number, or their labels, the last of which never holds."""
    texts = [text for text, _ in build_sentences(rows)]
    numbers = [1.0 + len(text.split()) / 4 for text in texts]
    sets = [[int("walks" in text), int(len(text) > 50), 0] for text in texts]
    return Dataset.from_dict({"text": texts, "label": numbers if kind == "regression" else sets})


def recipe_of(**train: object) -> Recipe:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "precision": "fp32",
        "save_every": "never",
        **train,
    }
    return Recipe.model_validate({"task": "cola", "model": {"checkpoint": "./tiny"}, "train": settings})


def load(kind: str, checkpoint: Checkpoint) -> Any:
    torch.manual_seed(3)
    return load_model(open_start(checkpoint), objective_of(kind, checkpoint), NAMES[kind])


def train_once(
    kind: str, checkpoint: Checkpoint, folder: Path, rows: int = 50, processes: int = 1, **train: object
) -> list[dict]:
    """Return the events of a short training with SGD, so that a wrong scale of the gradient can't hide behind Adam."""
    settings, objective = recipe_of(extra={"optim": "sgd"}, **train), objective_of(kind, checkpoint)
    assert settings.train is not None
    train_model(
        load(kind, checkpoint),
        objective.encode(examples_of(kind, rows), "train"),
        None,
        settings,
        RunDir(folder),
        plan=plan_batch(settings.train.batch_size, settings.train.micro_batch_size, processes),
        seed=3,
        precision="fp32",
        metric="pearson" if kind == "regression" else "macro_f1",
        objective=objective,
        title="",
    )
    return read_events(folder)


def batch_of(kind: str, checkpoint: Checkpoint, rows: int = 8) -> tuple[Features, dict[str, torch.Tensor]]:
    objective = objective_of(kind, checkpoint)
    features = objective.encode(examples_of(kind, rows), "train")
    return features, objective.collate([(features[number], Slot(number)) for number in range(rows)])


@pytest.mark.parametrize("kind", NAMES)
def test_the_loss_of_a_batch_is_that_of_torch(kind: str, checkpoint: Checkpoint) -> None:
    objective, model = objective_of(kind, checkpoint), load(kind, checkpoint).model.eval()
    assert isinstance(objective, TrainedObjective)
    features, batch = batch_of(kind, checkpoint)
    weights = objective.sum_weights(batch)
    sums, outputs = objective.sum_losses(model, batch)
    labels = torch.tensor(features.labels, dtype=torch.float32)
    if kind == "regression":
        expected = torch.nn.MSELoss()(outputs.logits[:, 0], labels)
    else:
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 1.0, 5.0]))(outputs.logits, labels)
    assert (sums / weights).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_a_filler_counts_for_nothing(kind: str, checkpoint: Checkpoint) -> None:
    objective, model = objective_of(kind, checkpoint), load(kind, checkpoint).model.eval()
    features, _ = batch_of(kind, checkpoint)
    real = objective.collate([(features[0], Slot(0))])
    filled = objective.collate([(features[0], Slot(0)), (features[1], Slot(1, is_filler=True))])
    assert objective.sum_weights(filled).tolist() == objective.sum_weights(real).tolist() == [1.0]
    torch.testing.assert_close(objective.sum_losses(model, filled)[0], objective.sum_losses(model, real)[0])


@pytest.mark.parametrize("kind", NAMES)
def test_losses_and_gradients_do_not_depend_on_accumulation(kind: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole = train_once(kind, checkpoint, tmp_path / "whole")
    cut = train_once(kind, checkpoint, tmp_path / "cut", micro_batch_size=2)
    assert len(whole) == len(cut) == 14
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose([event[name] for event in cut], [event[name] for event in whole], rtol=1e-4)


@pytest.mark.parametrize("kind", NAMES)
def test_answers_are_in_row_order_whatever_the_batch_size(kind: str, checkpoint: Checkpoint) -> None:
    objective, model = objective_of(kind, checkpoint), load(kind, checkpoint).model
    features = objective.encode(examples_of(kind, 20), "test")
    one, many = (objective.answer(model, features, size) for size in (1, 7))
    np.testing.assert_array_equal(one.expected, features.labels)
    np.testing.assert_allclose(one.predicted, many.predicted, atol=1e-5)


def test_numbers_are_expected_as_they_stand_in_the_data(checkpoint: Checkpoint) -> None:
    objective = objective_of("regression", checkpoint)
    features = objective.encode(Dataset.from_dict({"text": ["a", "b"], "label": [3.4, 1.0]}), "test")
    answers = objective.answer(load("regression", checkpoint).model, features, 2)
    assert answers.expected.tolist() == [3.4, 1.0]


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "gpt2"])
def test_a_new_head_begins_at_the_mean_and_a_kept_one_as_it_was(
    family: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    start = open_start(Checkpoint(request.getfixturevalue(f"tiny_{family}"), "tiny", "0" * 64))
    objective = Regression(start.tokenizer, 64, Packer(is_narrow=True), train_mean=3.5)
    assert isinstance(objective, StartsHead)
    torch.manual_seed(1)
    loaded = load_model(start, objective, ())
    features = objective.encode(examples_of("regression", 20), "test")
    said = objective.answer(loaded.model, features, 20).predicted.mean()
    # GPT-2's head has no bias; it has to learn the mean.
    assert said == pytest.approx(0.0 if family == "gpt2" else 3.5, abs=0.5)
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    again = load_model(
        open_start(Checkpoint(tmp_path, "kept", "0" * 64)),
        Regression(start.tokenizer, 64, Packer(is_narrow=True), 100.0),
        (),
    )
    kept = objective.answer(again.model, features, 20)
    np.testing.assert_allclose(kept.predicted.mean(), said, atol=1e-5)


@pytest.mark.parametrize("weights", [None, "balanced", [1.0, 2.0, 4.0]])
def test_a_new_head_begins_where_the_same_answer_to_every_row_has_the_least_loss(
    weights: object, checkpoint: Checkpoint
) -> None:
    labels = [[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 0]]
    objective: Multilabel = build("multilabel", checkpoint, labels, class_weights=weights)
    torch.manual_seed(1)
    model = load_model(open_start(checkpoint), objective, NAMES["multilabel"]).model
    (bias,) = [weight for name, weight in model.named_parameters() if name == "classifier.bias"]
    positive = None if objective.positive_weights is None else torch.tensor(objective.positive_weights)
    losses = torch.nn.BCEWithLogitsLoss(pos_weight=positive)(bias.expand(4, 3), torch.tensor(labels).float())
    (gradient,) = torch.autograd.grad(losses, bias)
    assert gradient.abs().max().item() < 1e-6


def test_balanced_weights_are_rows_without_a_label_over_rows_with_it(checkpoint: Checkpoint) -> None:
    built = build("multilabel", checkpoint, [[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 1, 1]], class_weights="balanced")
    assert built.positive_weights == (3.0, 3.0, 0.25)
    assert build("multilabel", checkpoint, [[1, 0, 1]]).positive_weights is None
    assert build("multilabel", checkpoint, [[1, 0, 1]], class_weights=[1.0, 2.0, 3.0]).positive_weights == (1, 2, 3)


def test_a_label_that_no_row_has_weighs_no_infinity(checkpoint: Checkpoint) -> None:
    assert build("multilabel", checkpoint, [[0, 1, 0]] * 4, class_weights="balanced").positive_weights == (4, 0.25, 4)


def test_as_many_weights_as_labels_are_needed(checkpoint: Checkpoint) -> None:
    with pytest.raises(SettingError, match=r"train\.class_weights: 2 weights, but 3 labels: walks, long, never"):
        build("multilabel", checkpoint, [[1, 0, 1]], class_weights=[1.0, 2.0])


def test_the_mean_is_that_of_train_and_nothing_where_there_is_no_train(checkpoint: Checkpoint) -> None:
    assert build("regression", checkpoint, [1.0, 2.0, 4.5]).train_mean == 2.5
    assert build("regression", checkpoint, None).train_mean == 0.0


def build(kind: str, checkpoint: Checkpoint, labels: list | None, **train: object) -> Any:
    """Return the objective of a recipe on train rows with these labels."""
    examples = Dataset.from_dict({"text": ["a"] * len(labels), "label": labels}) if labels is not None else None
    splits = {"train": SimpleNamespace(examples=examples)} if examples is not None else {}
    data: Any = SimpleNamespace(splits=splits, label_names=NAMES[kind])
    module: Any = {"regression": regression, "multilabel": multilabel}[kind]
    task: Any = None
    return module.build(recipe_of(**train), task, data, load_tokenizer(checkpoint), load_config(checkpoint))


@pytest.mark.parametrize("key", ["evaluate.temperature=true", "evaluate.threshold=f1"])
@pytest.mark.parametrize("kind", NAMES)
def test_what_is_fitted_for_classes_is_refused_for_others_by_its_key(
    kind: str, key: str, work: Path, tiny_bert: Path
) -> None:
    write_recipe(work, tiny_bert, kind)
    with pytest.raises(RecipeError, match=rf"{key.partition('=')[0].replace('.', '[.]')}.*classification"):
        load_recipe("r.yaml", [key])


def write_recipe(work: Path, tiny: Path, kind: str, rows: int = 300) -> None:
    examples = examples_of(kind, rows)
    with (work / "rows.csv").open("w", encoding="utf-8") as stream:
        stream.write("text,number\n" if kind == "regression" else f"text,{','.join(NAMES[kind])}\n")
        for text, label in zip(examples["text"], examples["label"], strict=True):
            stream.write(f"{text},{label if kind == 'regression' else ','.join(map(str, label))}\n")
    columns = "label: number" if kind == "regression" else f"labels: [{', '.join(NAMES[kind])}]"
    (work / "r.yaml").write_text(
        f"task: {kind}\nmodel: {{checkpoint: {tiny}}}\ndata: {{path: rows.csv, columns: {{text: text, {columns}}}}}\n"
        "train: {max_steps: 120, batch_size: 32, batching: grouped, learning_rate: 3.0e-3, precision: fp32, threads: 1}\n"
        "evaluate: {bootstrap: 200}\n"
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", NAMES)
def test_a_run_learns_keeps_its_answers_and_predicts_them_again(kind: str, work: Path, tiny_bert: Path) -> None:
    write_recipe(work, tiny_bert, kind)
    run = run_recipe(load_recipe("r.yaml"), work / "run")
    best = pick(run.report.scores, "pearson" if kind == "regression" else "micro_f1")
    assert best is not None and best.value is not None and best.value > 0.6
    kept: Any = read_answers(RunDir(run.path).predictions, NAMES[kind]).answers
    texts = [json.loads(line)["texts"][0] for line in RunDir(run.path).rows.read_text().splitlines()]
    if kind == "regression":
        said: Any = load_run(run.path).predict_numbers(texts)
        np.testing.assert_allclose(kept.predicted, said, atol=1e-4)
        assert 1 < np.mean(said) < 5
    else:
        held = load_run(run.path).predict_label_sets(texts)
        assert [[name in row.labels for name in NAMES[kind]] for row in held] == kept.predicted.tolist()
