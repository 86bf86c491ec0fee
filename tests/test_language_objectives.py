"""Masked and causal language models: what is asked, what it costs to be wrong, and that neither hangs on how batches are cut."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from finetune import likelihoods
from finetune.batching import Slot
from finetune.checkpoint import Checkpoint
from finetune.errors import DataError, SettingError
from finetune.masking import NOT_PREDICTED
from finetune.objectives import causal_lm, classification, masked_lm
from finetune.objectives.causal_lm import CausalLM
from finetune.objectives.classification import Classification
from finetune.objectives.masked_lm import MaskedLM
from finetune.recipe import Recipe
from finetune.start import load_config, load_tokenizer
from finetune.task import get_task
from tests.language_training import Objective, Tiny, Trained, assert_same, texts, train_once
from tests.tiny import build_tiny_checkpoint

# None of these objectives asks anything of the data.
NO_DATA: Any = None


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tiny]:
    def build(family: str) -> Tiny:
        folder = build_tiny_checkpoint(family, tmp_path_factory.mktemp(f"{family}-no-dropout"), dropout=0.0)
        return Tiny(Checkpoint(folder, "tiny", "0" * 64))

    encoder, decoder = build("bert"), build("gpt2")
    kinds = {"masked": encoder, "causal": decoder, "classification": decoder}
    return kinds | {f"{kind}-padded": tiny for kind, tiny in kinds.items()}


def collate(objective: Objective, features: Any, seed: int = 0, epoch: int = 0) -> dict[str, torch.Tensor]:
    batch = objective.collate(
        [(features[number], Slot(number, epoch=epoch, seed=seed)) for number in range(len(features))]
    )
    return {name: tensor for name, tensor in batch.items() if not name.endswith("_count")}


@pytest.mark.parametrize("kind", ["masked", "masked-padded", "causal", "causal-padded", "classification"])
def test_losses_gradients_and_weights_do_not_depend_on_accumulation(
    tiny: dict[str, Tiny], tmp_path: Path, kind: str
) -> None:
    whole = train_once(tiny[kind], kind, tmp_path / "whole", None)
    assert_same(train_once(tiny[kind], kind, tmp_path / "cut", 2), whole)


def test_packed_training_is_padded_training(tiny: dict[str, Tiny], tmp_path: Path) -> None:
    padded = train_once(tiny["causal-padded"], "causal-padded", tmp_path / "causal-padded", None)
    assert_same(train_once(tiny["causal"], "causal", tmp_path / "causal", None), padded)


@pytest.mark.processes
def test_losses_gradients_weights_and_answers_do_not_depend_on_processes(tiny: dict[str, Tiny], tmp_path: Path) -> None:
    kinds = ("masked", "causal", "classification")
    for kind in kinds:
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "checkpoint").symlink_to(tiny[kind].checkpoint.folder)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m"]
    done = subprocess.run(
        [*command, "tests.language_training", str(tmp_path), *kinds],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for kind in kinds:
        found = Trained(**json.loads((tmp_path / kind / "trained.json").read_text(encoding="utf-8")))
        assert_same(found, train_once(tiny[kind], kind, tmp_path / kind / "whole", None))


@pytest.mark.parametrize("kind", ["masked-padded", "causal-padded"])
def test_the_loss_is_the_mean_that_transformers_gives(tiny: dict[str, Tiny], kind: str) -> None:
    objective = tiny[kind].objective(kind)
    model = tiny[kind].model(objective)
    batch = collate(objective, objective.encode(texts(12), "train"), seed=1)
    asked = int(objective.sum_weights(batch))
    found = objective.sum_losses(model, dict(batch))[0].item() / asked
    targets = batch.pop("targets")
    # GPT-2 shifts its labels itself.
    labels = (
        targets if kind == "masked-padded" else torch.nn.functional.pad(targets, (1, 0), value=NOT_PREDICTED)[:, :-1]
    )
    assert found == pytest.approx(model(**batch, labels=labels).loss.item(), rel=1e-5)


def test_a_masked_model_is_asked_for_masked_tokens_and_no_others(tiny: dict[str, Tiny]) -> None:
    objective = tiny["masked"].objective("masked-padded")
    features = objective.encode(texts(40), "train")
    batch = collate(objective, features, seed=1, epoch=2)
    assert isinstance(objective, MaskedLM)
    for number in range(len(features)):
        row, width = features[number], len(features[number].input_ids)
        seen, targets = objective.masking.mask_row(row, Slot(number, seed=1, epoch=2))
        assert batch["input_ids"][number, :width].tolist() == seen.tolist()
        assert batch["targets"][number, :width].tolist() == targets.tolist()
        assert set(batch["targets"][number, width:].tolist()) <= {NOT_PREDICTED}
        assert batch["attention_mask"][number].sum() == width
    assert objective.sum_weights(batch).tolist() == [(batch["targets"] != NOT_PREDICTED).sum()]


@pytest.mark.parametrize("kind", ["causal-padded", "causal"])
def test_a_causal_model_is_asked_for_every_token_of_a_document_and_its_end_once(
    tiny: dict[str, Tiny], kind: str
) -> None:
    objective = tiny[kind].objective(kind)
    batch = collate(objective, objective.encode(texts(15), "train"))
    asked = batch["targets"][batch["targets"] != NOT_PREDICTED]
    tokenizer = objective.tokenizer
    expected = [
        token for text in texts(15)["text"] for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    ]
    assert sorted(asked.tolist()) == sorted(expected)


@pytest.mark.parametrize("kind", ["masked", "masked-padded", "causal", "causal-padded", "classification"])
def test_fillers_are_asked_for_nothing(tiny: dict[str, Tiny], kind: str) -> None:
    objective = tiny[kind].objective(kind)
    features = objective.encode(texts(5), "train")
    batch = objective.collate([(features[0], Slot(0, is_filler=True))])
    assert not objective.sum_weights(batch).any()
    assert int(batch["example_count"]) == int(batch["token_count"]) == 0
    batch = {name: tensor for name, tensor in batch.items() if not name.endswith("_count")}
    assert not objective.sum_losses(tiny[kind].model(objective), batch)[0].any()


@pytest.mark.parametrize("kind", ["masked", "masked-padded", "causal", "causal-padded"])
def test_answers_do_not_depend_on_batch_size_or_processes(
    tiny: dict[str, Tiny], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = tiny[kind].objective(kind)
    assert not isinstance(objective, Classification)
    model, features = tiny[kind].model(objective), objective.encode(texts(30), "test")
    whole = objective.answer(model, features, 64)
    assert len(whole) == 30
    monkeypatch.setattr(likelihoods, "LOGITS_A_PASS", 40 * len(objective.tokenizer))
    few = objective.answer(model, features, 3)
    # Without a group of processes each has its own share alone.
    shares = [objective.answer(model, features, 3, process=process, processes=2) for process in range(2)]
    for name in ("tokens", "right", "text_bytes"):
        np.testing.assert_array_equal(getattr(few, name), getattr(whole, name))
    assert sum(share.tokens.sum() for share in shares) == whole.tokens.sum()
    np.testing.assert_allclose(few.losses, whole.losses, rtol=1e-5)
    np.testing.assert_allclose(sum(share.losses for share in shares), whole.losses, rtol=1e-5)


@pytest.mark.parametrize("kind", ["masked", "causal-padded"])
def test_a_measurement_keeps_to_its_budget_of_logits(
    tiny: dict[str, Tiny], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = tiny[kind].objective(kind)
    assert not isinstance(objective, Classification)
    model, features = tiny[kind].model(objective), objective.encode(texts(30), "test")
    monkeypatch.setattr(likelihoods, "LOGITS_A_PASS", 40 * len(objective.tokenizer))
    seen: list[int] = []
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, logits: seen.append(logits.numel()))
    objective.answer(model, features, 64)
    # Which tokens are masked is drawn, so their number is only about what was planned.
    assert max(seen) <= likelihoods.LOGITS_A_PASS * (2 if kind == "masked" else 1)
    assert len(seen) > 1


def test_a_document_is_as_likely_as_transformers_finds_its_pieces(tiny: dict[str, Tiny]) -> None:
    objective = tiny["causal-padded"].objective("causal-padded")
    assert isinstance(objective, CausalLM)
    model, features = tiny["causal-padded"].model(objective).eval(), objective.encode(texts(10), "test")
    answers = objective.answer(model, features, 4)
    losses = np.zeros(10)
    for number in range(len(features)):
        ids = torch.tensor(features[number].input_ids.astype(np.int64))[None]
        losses[features.examples[number]] += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    np.testing.assert_allclose(answers.losses, losses, rtol=1e-5)
    assert answers.text_bytes.tolist() == [len(text.encode()) for text in texts(10)["text"]]


def test_the_masks_of_a_measurement_are_the_same_before_and_after_and_in_any_part(tiny: dict[str, Tiny]) -> None:
    objective = tiny["masked"].objective("masked")
    assert isinstance(objective, MaskedLM)
    model = tiny["masked"].model(objective)
    features = {part: objective.encode(texts(30), part) for part in ("dev", "test")}
    before = objective.answer(model, features["test"], 8)
    on_dev = objective.answer(model, features["dev"], 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    after = objective.answer(model, features["test"], 8)
    assert before.tokens.tolist() == on_dev.tokens.tolist() == after.tokens.tolist()
    np.testing.assert_array_equal(before.losses, on_dev.losses)
    assert not np.isclose(before.losses.sum(), after.losses.sum())


def test_the_second_term_of_a_classifier_is_the_loss_of_its_rows_tokens(tiny: dict[str, Tiny]) -> None:
    objective = tiny["classification"].objective("classification")
    features = objective.encode(texts(9), "train")
    model = tiny["classification"].model(objective).eval()
    batch = collate(objective, features)
    language_model = AutoModelForCausalLM.from_config(model.config).eval()
    language_model.transformer.load_state_dict(model.transformer.state_dict())
    expected = 0.0
    for number in range(len(features)):
        ids = torch.tensor(features[number].input_ids.astype(np.int64))[None]
        if ids.shape[1] > 1:
            expected += language_model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
    weights = objective.sum_weights(batch)
    assert weights[1] == sum(features.lengths - 1)
    assert objective.sum_losses(model, batch)[0][1].item() == pytest.approx(0.5 * expected, rel=1e-5)


def recipe_of(**train: Any) -> Recipe:
    return Recipe.model_validate({"task": "masked-lm", "model": {"checkpoint": "./tiny"}, "train": train})


@pytest.mark.parametrize(
    ("kind", "build", "task", "train", "message"),
    [
        (
            "causal-padded",
            masked_lm.build,
            "masked-lm",
            {},
            "model: found a gpt2, which reads from left to right; task masked-lm needs one that reads in both directions, "
            "such as bert or roberta",
        ),
        (
            "masked",
            causal_lm.build,
            "causal-lm",
            {},
            "model: found a bert, which reads in both directions; task causal-lm needs one that reads from left to right, "
            "such as gpt2",
        ),
        (
            "masked",
            classification.build,
            "text-classification",
            {"auxiliary_lm_weight": 0.5},
            "train.auxiliary_lm_weight: found 0.5, but a bert sees each token it would have to predict; leave it out",
        ),
    ],
)
def test_a_checkpoint_that_reads_the_other_way_is_refused_in_a_line(
    tiny: dict[str, Tiny], kind: str, build: Callable[..., Any], task: str, train: dict, message: str
) -> None:
    checkpoint = tiny[kind].checkpoint
    tokenizer, config = load_tokenizer(checkpoint), load_config(checkpoint)
    with pytest.raises(SettingError) as caught:
        build(recipe_of(**train), get_task(task), NO_DATA, tokenizer, config)
    assert str(caught.value) == message


def test_a_corpus_shorter_than_a_piece_is_refused(tiny: dict[str, Tiny]) -> None:
    objective = tiny["causal"].objective("causal")
    with pytest.raises(DataError) as caught:
        objective.encode(Dataset.from_dict({"text": ["a dog"]}), "train")
    tokens = len(objective.tokenizer("a dog")["input_ids"]) + 2
    assert str(caught.value) == (f"train: {tokens} tokens in all, fewer than one piece of 16; lower data.max_length")
    assert len(objective.encode(Dataset.from_dict({"text": ["a dog"]}), "test")) == 1


def test_a_model_that_is_only_measured_is_asked_as_a_trained_one(tiny: dict[str, Tiny]) -> None:
    checkpoint = tiny["masked"].checkpoint
    recipe = Recipe.model_validate({"task": "masked-lm", "model": {"checkpoint": "./tiny"}, "train": None})
    built = masked_lm.build(recipe, get_task("masked-lm"), NO_DATA, load_tokenizer(checkpoint), load_config(checkpoint))
    assert (built.masking.probability, built.masking.whole_words) == (0.15, False)
