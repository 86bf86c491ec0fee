"""The wrapper round transformers.Trainer: exact losses however a batch is cut, and hooks that are still upstream's."""

import inspect
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Trainer

from finetune import trainer
from finetune.batching import Collator, plan_batch
from finetune.checkpoint import Checkpoint
from finetune.errors import InvalidResultError, RecipeError
from finetune.features import Features, encode_features
from finetune.objectives.classification import Classification
from finetune.packing import Packer
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.start import load_tokenizer
from finetune.trainer import FinetuneTrainer
from finetune.training import train_model
from finetune.training_arguments import build_arguments
from tests.tiny import build_sentences, build_tiny_checkpoint, load_classifier

LABELS = ("acceptable", "unacceptable")


@pytest.fixture(scope="module")
def no_dropout(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)
    return Checkpoint(folder, "tiny", "0" * 64)


def encode(checkpoint: Checkpoint, rows: int, seed: int = 0) -> Features:
    from datasets import Dataset

    pairs = build_sentences(rows, seed)
    examples = Dataset.from_dict(
        {"text": [text for text, _ in pairs], "label": [LABELS.index(label) for _, label in pairs]}
    )
    return encode_features(examples, load_tokenizer(checkpoint), 64)


def recipe(**train: object) -> Recipe:
    settings = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "precision": "fp32",
        "save_every": "never",
        **train,
    }
    return Recipe.model_validate({"task": "cola", "model": {"checkpoint": "./tiny"}, "train": settings})


def classification(checkpoint: Checkpoint, weights: tuple[float, ...] | None, settings: Recipe) -> Classification:
    assert settings.train is not None
    tokenizer = load_tokenizer(checkpoint)
    is_packed = settings.train.batching == "packed"
    layout = Packer(is_narrow=True) if is_packed else Collator(tokenizer.pad_token_id)
    return Classification(tokenizer, 64, layout, weights, settings.train.label_smoothing)


def train_once(
    checkpoint: Checkpoint, folder: Path, rows: int = 50, weights: tuple[float, ...] | None = None, **train: object
) -> list[dict]:
    """Return the events of a short training with SGD, so that a wrong scale of the gradient can't hide behind Adam."""
    settings = recipe(**{"extra": {"optim": "sgd"}, **train})
    torch.manual_seed(3)
    assert settings.train is not None
    train_model(
        load_classifier(checkpoint, LABELS),
        encode(checkpoint, rows),
        None,
        settings,
        RunDir(folder),
        plan=plan_batch(settings.train.batch_size, settings.train.micro_batch_size, 1),
        seed=3,
        precision="fp32",
        metric="matthews_correlation",
        objective=classification(checkpoint, weights, settings),
        title="",
    )
    return [json.loads(line) for line in RunDir(folder).events.read_text().splitlines()]


@pytest.mark.parametrize(
    "train", [{}, {"label_smoothing": 0.1}, {"max_grad_norm": 0.05}, {"batching": "padded"}, {"batching": "grouped"}]
)
@pytest.mark.parametrize("weights", [None, (0.7, 1.9)])
def test_losses_and_gradients_do_not_depend_on_accumulation(
    no_dropout: Checkpoint, tmp_path: Path, train: dict, weights: tuple[float, ...] | None
) -> None:
    whole = train_once(no_dropout, tmp_path / "whole", weights=weights, **train)
    cut = train_once(no_dropout, tmp_path / "cut", weights=weights, micro_batch_size=2, **train)
    assert len(whole) == len(cut) == 14
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose([event[name] for event in cut], [event[name] for event in whole], rtol=1e-5)


def test_upstream_still_multiplies_the_loss_by_accumulation_steps(no_dropout: Checkpoint, tmp_path: Path) -> None:
    """The proof that `loss` has to be ours; when this fails, upstream is mended and the module may go."""
    from transformers import TrainingArguments

    rows = [
        {"input_ids": torch.tensor([2, 5, 6, 3]), "attention_mask": torch.ones(4, dtype=torch.long), "labels": n % 2}
        for n in range(8)
    ]

    def first_loss(micro: int) -> float:
        torch.manual_seed(3)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=8 // micro,
            max_steps=1,
            logging_steps=1,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Trainer(load_classifier(no_dropout, LABELS).model, arguments, train_dataset=rows)  # type: ignore[arg-type]
        trainer.train()
        return trainer.state.log_history[0]["loss"]

    assert first_loss(2) / first_loss(8) == pytest.approx(4, rel=1e-3)


def test_the_first_loss_equals_cross_entropy_of_the_first_batch(no_dropout: Checkpoint, tmp_path: Path) -> None:
    events = train_once(no_dropout, tmp_path, rows=8, batch_size=8, epochs=1, micro_batch_size=4)
    torch.manual_seed(3)
    model = load_classifier(no_dropout, LABELS).model
    features = encode(no_dropout, 8)
    losses = []
    for number in range(8):
        row = features[number]
        logits = model(input_ids=torch.tensor(row.input_ids[None], dtype=torch.long)).logits
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor([row.label])).item())
    assert events[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run_at_once(no_dropout: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(InvalidResultError, match=r"not finite at step \d"):
        _diverge(no_dropout, tmp_path)


def _diverge(checkpoint: Checkpoint, folder: Path) -> None:
    """Train from weights with a planted NaN."""
    settings = recipe()
    loaded = load_classifier(checkpoint, LABELS)
    with torch.no_grad():
        loaded.model.get_parameter("classifier.weight")[0, 0] = math.nan
    train_model(
        loaded,
        encode(checkpoint, 16),
        None,
        settings,
        RunDir(folder),
        plan=plan_batch(8, None, 1),
        seed=1,
        precision="fp32",
        metric="matthews_correlation",
        objective=classification(checkpoint, None, settings),
        title="",
    )


def test_a_checkpoint_holds_json_and_safetensors_alone_the_last_no_moments(
    no_dropout: Checkpoint, tmp_path: Path
) -> None:
    train_once(no_dropout, tmp_path, epochs=2, save_every="epoch", keep_checkpoints=2)
    halfway, over = sorted((tmp_path / "checkpoints").iterdir(), key=lambda path: int(path.name.partition("-")[2]))
    least = {"manifest.json", "model.safetensors", "trainer_state.json", "training.json"}
    assert {path.name for path in halfway.iterdir()} == {*least, "optimizer.safetensors"}
    assert {path.name for path in over.iterdir()} == least


def test_best_weights_on_dev_are_the_ones_kept(no_dropout: Checkpoint, tmp_path: Path) -> None:
    from finetune.answers import build_answers
    from finetune.metrics import score
    from finetune.predict import predict_logits, probabilities_of

    settings = recipe(keep_best=True, epochs=4, learning_rate=3e-3)
    dev = encode(no_dropout, 40, seed=9)
    loaded = load_classifier(no_dropout, LABELS)
    objective = classification(no_dropout, None, settings)
    outcome = train_model(
        loaded,
        encode(no_dropout, 64),
        dev,
        settings,
        RunDir(tmp_path),
        plan=plan_batch(8, None, 1),
        seed=1,
        precision="fp32",
        metric="matthews_correlation",
        objective=objective,
        title="",
    )
    scores = [
        event["dev"]["matthews_correlation"]
        for event in map(json.loads, RunDir(tmp_path).events.read_text().splitlines())
        if "dev" in event
    ]
    assert len(scores) == 4
    assert outcome.dev_score == max(scores)
    answers = build_answers(dev.labels, probabilities_of(predict_logits(loaded.model, dev, objective.layout, 16)))
    kept = score("matthews_correlation", answers).value
    assert kept == pytest.approx(max(scores))


def test_patience_ends_training_early(no_dropout: Checkpoint, tmp_path: Path) -> None:
    settings = recipe(patience=1, epochs=30, learning_rate=1e-6)
    train_model(
        load_classifier(no_dropout, LABELS),
        encode(no_dropout, 16),
        encode(no_dropout, 16, seed=5),
        settings,
        RunDir(tmp_path),
        plan=plan_batch(8, None, 1),
        seed=1,
        precision="fp32",
        metric="matthews_correlation",
        objective=classification(no_dropout, None, settings),
        title="",
    )
    last = json.loads(RunDir(tmp_path).events.read_text().splitlines()[-1])
    assert last["epoch"] < 30


HOOKS = [
    name
    for name, hook in vars(FinetuneTrainer).items()
    if inspect.isfunction(hook) and name in vars(Trainer) and name != "__init__"
]


def test_every_overridden_hook_is_named_in_the_docstring() -> None:
    assert set(HOOKS) <= set(re.findall(r"\w+", trainer.__doc__ or ""))


@pytest.mark.parametrize("name", HOOKS)
def test_overridden_hooks_keep_the_upstream_signature(name: str) -> None:
    assert list(inspect.signature(getattr(FinetuneTrainer, name)).parameters) == list(
        inspect.signature(getattr(Trainer, name)).parameters
    )


def test_a_value_that_training_arguments_refuse_is_a_recipe_error(tmp_path: Path) -> None:
    settings = recipe(extra={"optim": "no-such-optimizer"})
    assert settings.train is not None
    with pytest.raises(RecipeError, match="no-such-optimizer"):
        build_arguments(
            settings, settings.train, tmp_path, plan_batch(8, None, 1), 1, "fp32", "matthews_correlation", has_dev=False
        )
