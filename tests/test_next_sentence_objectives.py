"""The next sentence alone, and with masked tokens: transformers' own losses, however a batch is cut, and answers that stay the same."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForNextSentencePrediction,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
    BertConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RobertaConfig,
)

from finetune.answers import Answers, LanguageAnswers
from finetune.batching import Slot, plan_batch
from finetune.checkpoint import Checkpoint
from finetune.data import TaskData
from finetune.errors import SettingError
from finetune.loss import divide_losses
from finetune.masking import NOT_PREDICTED
from finetune.model import LoadedModel
from finetune.next_sentence import build_sentence_pairs
from finetune.objectives import next_sentence, pretraining
from finetune.objectives.next_sentence import NextSentence
from finetune.objectives.pretraining import Pretraining
from finetune.pair_features import PairFeatures
from finetune.pooling import prepare_packing
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.start import load_config, load_tokenizer
from finetune.task import ObjectiveName, get_task
from finetune.training import train_model
from tests.same_training import read_events
from tests.tiny import build_sentences, build_tiny_checkpoint

HEADS: dict[str, Any] = {
    "AutoModelForNextSentencePrediction": AutoModelForNextSentencePrediction,
    "AutoModelForSequenceClassification": AutoModelForSequenceClassification,
    "AutoModelForPreTraining": AutoModelForPreTraining,
}
TASKS: dict[ObjectiveName, str] = {"next_sentence": "nsp", "pretraining": "wikitext2-pretraining"}
NO_DATA = cast(TaskData, None)
Trained = NextSentence | Pretraining


@pytest.fixture(scope="module")
def no_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)


def recipe_of(objective: ObjectiveName, model: dict[str, str] | None = None, **train: Any) -> Recipe:
    settings = {
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "precision": "fp32",
        "save_every": "never",
        "extra": {"optim": "sgd"},
        **train,
    }
    return Recipe.model_validate(
        {"task": TASKS[objective], "model": model or {"checkpoint": "./tiny"}, "train": settings}
    )


def build(name: ObjectiveName, folder: Path, **train: Any) -> tuple[Trained, LoadedModel]:
    """Return an objective, and a model with its head from always the same random weights."""
    checkpoint = Checkpoint(folder, "tiny", "0" * 64)
    tokenizer, config = load_tokenizer(checkpoint), load_config(checkpoint)
    module = {"next_sentence": next_sentence, "pretraining": pretraining}[name]
    objective = module.build(recipe_of(name, **train), get_task(TASKS[name]), NO_DATA, tokenizer, config)
    config.num_labels = 2
    torch.manual_seed(3)
    model = HEADS[objective.model_class].from_pretrained(folder, config=config, dtype=torch.float32)
    prepare_packing(model)
    return objective, LoadedModel(model, tokenizer)


def encode(name: ObjectiveName, objective: Trained, pairs: int = 45) -> PairFeatures:
    sentences = [text for text, _ in build_sentences(pairs + 5)]
    documents = [" ".join(sentences[begin : begin + 10]) for begin in range(0, len(sentences), 10)]
    rows = [f"train/{number}" for number in range(len(documents))]
    examples = build_sentence_pairs(
        Dataset.from_dict({"row": rows, "text": documents}), name, 0, part="train", max_length=24
    )
    return objective.encode(examples, "train")


def batch_of(objective: Trained, features: PairFeatures) -> dict[str, torch.Tensor]:
    """Return all rows as one batch that is ready for the model."""
    batch = objective.collate([(features[number], Slot(number, seed=1)) for number in range(len(features))])
    return {name: tensor for name, tensor in batch.items() if not name.endswith("_count")}


def gradients(model: PreTrainedModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def train_once(
    name: ObjectiveName, folder: Path, out: Path, processes: int = 1, **train: Any
) -> list[dict[str, float]]:
    objective, loaded = build(name, folder, **train)
    settings = recipe_of(name, **train)
    assert settings.train is not None
    train_model(
        loaded,
        encode(name, objective),
        None,
        settings,
        RunDir(out),
        plan=plan_batch(settings.train.batch_size, settings.train.micro_batch_size, processes),
        seed=3,
        precision="fp32",
        metric="accuracy",
        objective=objective,
        title="",
    )
    return read_events(out)


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("micro", [2, 1])
def test_losses_and_gradients_do_not_depend_on_accumulation(
    no_dropout: Path, tmp_path: Path, name: ObjectiveName, micro: int
) -> None:
    whole = train_once(name, no_dropout, tmp_path / "whole")
    cut = train_once(name, no_dropout, tmp_path / "cut", micro_batch_size=micro)
    assert len(whole) == len(cut) > 1
    for value in ("loss", "gradient_norm"):
        np.testing.assert_allclose([event[value] for event in cut], [event[value] for event in whole], rtol=1e-5)


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_the_loss_of_the_next_sentence_is_that_of_transformers(no_dropout: Path, batching: str) -> None:
    objective, loaded = build("next_sentence", no_dropout, batching=batching)
    batch = batch_of(objective, encode("next_sentence", objective))
    inputs = {name: tensor for name, tensor in batch.items() if name != "weights"}
    expected = loaded.model(**inputs).loss
    weights = objective.sum_weights(batch)
    sums, _ = objective.sum_losses(loaded.model, batch)
    torch.testing.assert_close(divide_losses(sums, weights), expected)


@pytest.mark.parametrize("batching", ["packed", "padded"])
def test_both_losses_of_pretraining_and_their_gradients_are_those_of_transformers(
    no_dropout: Path, batching: str
) -> None:
    objective, loaded = build("pretraining", no_dropout, batching=batching)
    batch = batch_of(objective, encode("pretraining", objective))
    inputs = {name: tensor for name, tensor in batch.items() if name not in ("weights", "targets", "labels")}
    outputs = loaded.model(**inputs, labels=batch["targets"], next_sentence_label=batch["labels"])
    expected = gradients(loaded.model, outputs.loss)
    weights = objective.sum_weights(batch)
    assert weights.tolist() == [(batch["targets"] != NOT_PREDICTED).sum(), len(batch["labels"])]
    sums, _ = objective.sum_losses(loaded.model, batch)
    loss = divide_losses(sums, weights)
    torch.testing.assert_close(loss, outputs.loss)
    found = gradients(loaded.model, loss)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


def test_a_filler_counts_in_neither_loss(no_dropout: Path) -> None:
    objective, loaded = build("pretraining", no_dropout)
    features = encode("pretraining", objective)
    filler = objective.collate([(features[0], Slot(0, is_filler=True))])
    assert objective.sum_weights(filler).tolist() == [0.0, 0.0]
    assert filler.pop("example_count") == filler.pop("token_count") == 0
    sums, _ = objective.sum_losses(loaded.model, filler)
    assert sums.tolist() == [0.0, 0.0]
    sums.sum().backward()


def test_masks_follow_from_row_epoch_and_seed_and_no_special_token_is_masked(no_dropout: Path) -> None:
    objective, loaded = build("pretraining", no_dropout, batching="padded")
    features = encode("pretraining", objective)

    def targets_of(numbers: list[int], epoch: int = 0, seed: int = 1) -> list[list[int]]:
        batch = objective.collate([(features[number], Slot(number, epoch=epoch, seed=seed)) for number in numbers])
        rows = zip(batch["targets"].tolist(), numbers, strict=True)
        return [row[: features.lengths[number]] for row, number in rows]

    assert targets_of([4, 5, 6]) == [targets_of([number])[0] for number in (4, 5, 6)]
    assert targets_of(list(range(20))) != targets_of(list(range(20)), epoch=1)
    assert targets_of(list(range(20))) != targets_of(list(range(20)), seed=2)
    special = set(loaded.tokenizer.all_special_ids)
    predicted = [token for row in targets_of(list(range(len(features)))) for token in row if token != NOT_PREDICTED]
    assert predicted and not special & set(predicted)


def test_answers_of_pretraining_are_those_of_one_row_at_a_time(no_dropout: Path) -> None:
    objective, loaded = build("pretraining", no_dropout)
    features = encode("pretraining", objective)
    whole = objective.answer(loaded.model, features, 64)
    single = objective.answer(loaded.model, features, 1)
    assert isinstance(whole, LanguageAnswers) and isinstance(single, LanguageAnswers)
    np.testing.assert_allclose(whole.losses, single.losses, rtol=1e-5)
    assert whole.next_sentence is not None and single.next_sentence is not None
    np.testing.assert_allclose(whole.next_sentence.probabilities, single.next_sentence.probabilities, rtol=1e-4)
    np.testing.assert_array_equal(whole.next_sentence.expected, features.labels)
    loaded.model.eval()
    for number in range(len(features)):
        batch = objective.collate([(features[number], Slot(number))])
        targets = batch["targets"]
        inputs = {name: batch[name] for name in ("input_ids", "token_type_ids")}
        with torch.inference_mode():
            outputs = loaded.model(**inputs)
        likelihoods = outputs.prediction_logits.log_softmax(dim=-1)
        asked = [(at, token) for at, token in enumerate(targets[0].tolist()) if token != NOT_PREDICTED]
        assert whole.tokens[number] == len(asked)
        assert whole.losses[number] == pytest.approx(
            -sum(float(likelihoods[0, at, token]) for at, token in asked), rel=1e-4
        )
        assert whole.right[number] == sum(int(likelihoods[0, at].argmax()) == token for at, token in asked)
        assert whole.next_sentence.probabilities[number] == pytest.approx(
            outputs.seq_relationship_logits.softmax(dim=-1)[0].numpy(), rel=1e-4
        )


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "gpt2"])
def test_every_architecture_learns_the_next_sentence_with_the_head_it_has(
    family: str, request: pytest.FixtureRequest
) -> None:
    objective, loaded = build("next_sentence", request.getfixturevalue(f"tiny_{family}"))
    loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id
    kind = "NextSentencePrediction" if family == "bert" else "SequenceClassification"
    assert objective.model_class == f"AutoModelFor{kind}"
    assert objective.problem_type == (None if family == "bert" else "single_label_classification")
    features = encode("next_sentence", objective)
    answers = objective.answer(loaded.model, features, 16)
    assert isinstance(answers, Answers)
    np.testing.assert_array_equal(answers.expected, features.labels)
    assert answers.probabilities.shape == (len(features), 2)


@pytest.mark.parametrize(
    ("config", "model", "measures"),
    [
        (BertConfig(architectures=["BertForPreTraining"]), {}, True),
        (BertConfig(architectures=["BertForNextSentencePrediction"]), {}, True),
        (BertConfig(architectures=["BertForPreTraining"]), {"init": "scratch"}, False),
        (BertConfig(architectures=["BertForMaskedLM"]), {}, False),
        (BertConfig(), {}, False),
        (RobertaConfig(architectures=["RobertaForPreTraining"], pad_token_id=1), {}, False),
    ],
)
def test_only_a_head_that_the_checkpoint_brings_is_asked_before_training(
    tiny_bert: Path, config: PretrainedConfig, model: dict[str, str], measures: bool
) -> None:
    recipe = recipe_of("next_sentence", {"checkpoint": "./tiny", **model})
    objective = next_sentence.build(recipe, get_task("nsp"), NO_DATA, tokenizer_of(tiny_bert), config)
    assert objective.measures_start is measures


def tokenizer_of(folder: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(Checkpoint(folder, "tiny", "0" * 64))


def test_pretraining_is_refused_where_the_architecture_lacks_a_head(tiny_roberta: Path) -> None:
    with pytest.raises(
        SettingError, match="^model: found a roberta, which has no head for the next sentence"
    ) as caught:
        build("pretraining", tiny_roberta)
    assert "\n" not in str(caught.value)


def test_whole_words_are_masked_together_where_that_is_asked_for(no_dropout: Path) -> None:
    objective, _ = build("pretraining", no_dropout, whole_word_masking=True, mask_probability=0.5)
    texts = [f"The teachers see {number + 7000} doghouses." for number in range(30)]
    features = objective.encode(
        Dataset.from_dict({"text": texts, "text_pair": texts[::-1], "label": [0] * 30}), "train"
    )
    split_words = 0
    for number in range(len(features)):
        row = features[number]
        assert row.word_starts is not None
        targets = objective.collate([(row, Slot(number))])["targets"][0].numpy()
        for tokens in np.split(targets != NOT_PREDICTED, np.flatnonzero(row.word_starts)[1:]):
            assert tokens.all() or not tokens.any()
            split_words += len(tokens) > 1
    assert split_words
