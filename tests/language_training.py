"""Short trainings of tiny language models, in this process or, run as a module, as one of several.

python -m tests.language_training FOLDER KIND...
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification

from finetune.batching import Collator, plan_batch
from finetune.checkpoint import Checkpoint
from finetune.masking import build_masking
from finetune.model import LoadedModel
from finetune.objectives.causal_lm import CausalLM
from finetune.objectives.classification import Classification
from finetune.objectives.masked_lm import MaskedLM
from finetune.packing import Packer
from finetune.pooling import prepare_packing
from finetune.processes import Processes, join_processes
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.start import load_config, load_tokenizer
from finetune.training import train_model
from tests.tiny import build_sentences

Objective = MaskedLM | CausalLM | Classification
HEADS: dict[str, Any] = {
    "AutoModelForMaskedLM": AutoModelForMaskedLM,
    "AutoModelForCausalLM": AutoModelForCausalLM,
    "AutoModelForSequenceClassification": AutoModelForSequenceClassification,
}


@dataclass(frozen=True)
class Tiny:
    """A checkpoint without dropout and the objectives on it."""

    checkpoint: Checkpoint

    def objective(self, kind: str) -> Objective:
        """Return one of the objectives by name, packed unless that says padded; pieces have at most 16 tokens."""
        tokenizer = load_tokenizer(self.checkpoint)
        layout = Collator(tokenizer.pad_token_id) if kind.endswith("padded") else Packer()
        if kind.startswith("masked"):
            return MaskedLM(tokenizer, 16, layout, build_masking(tokenizer, 0.15, whole_words=False))
        if kind.startswith("classification"):
            return Classification(tokenizer, 16, layout, (0.7, 1.9), auxiliary_lm_weight=0.5)
        return CausalLM(tokenizer, 16, layout)

    def model(self, objective: Objective) -> Any:
        """Return the model that an objective asks, its new weights drawn from a fixed seed."""
        torch.manual_seed(3)
        config = load_config(self.checkpoint)
        config.pad_token_id = objective.tokenizer.pad_token_id
        model = HEADS[objective.model_class].from_pretrained(self.checkpoint.folder, config=config)
        prepare_packing(model)
        return model


def texts(rows: int) -> Dataset:
    """Return sentences of ragged lengths, some far longer than a piece, one without a token to mask."""
    pairs = build_sentences(rows)
    found = [text * (4 if number % 7 == 3 else 1) for number, (text, _) in enumerate(pairs)]
    found[1] = ""
    return Dataset.from_dict({"text": found, "label": [int(label == "acceptable") for _, label in pairs]})


@dataclass(frozen=True)
class Trained:
    """What a short training did: losses and gradient norms by step, weights, and the losses of test documents afterwards."""

    losses: list[float]
    gradient_norms: list[float]
    weights: dict[str, list]
    answers: list[float]


def train_once(
    tiny: Tiny, kind: str, folder: Path, micro_batch_size: int | None, processes: Processes | None = None
) -> Trained:
    """Return what a short training with SGD did: with Adam a wrong scale of the gradient would show nowhere."""
    objective, own = tiny.objective(kind), processes or Processes(0, 1)
    train = {
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 0.1,
        "precision": "fp32",
        "save_every": "never",
        "batching": "padded" if kind.endswith("padded") else "packed",
        "extra": {"optim": "sgd"},
    }
    recipe = Recipe.model_validate({"task": "cola", "model": {"checkpoint": "./tiny"}, "train": train})
    loaded = LoadedModel(tiny.model(objective), objective.tokenizer)
    train_model(
        loaded,
        objective.encode(texts(19), "train"),
        None,
        recipe,
        RunDir(folder),
        plan=plan_batch(8, micro_batch_size, own.count),
        seed=3,
        precision="fp32",
        metric="matthews_correlation",
        objective=objective,
        title="",
    )
    answers: list[float] = []
    if not isinstance(objective, Classification):
        found = objective.answer(
            loaded.model, objective.encode(texts(7), "test"), 3, process=own.rank, processes=own.count
        )
        answers = found.losses.tolist()
    events = [json.loads(line) for line in RunDir(folder).events.read_text().splitlines()] if own.is_first else []
    return Trained(
        [event["loss"] for event in events],
        [event["gradient_norm"] for event in events],
        {name: weight.tolist() for name, weight in loaded.model.named_parameters()},
        answers,
    )


def assert_same(found: Trained, expected: Trained) -> None:
    """Check that two trainings did the same, but for rounding."""
    assert len(expected.losses) >= 3
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    np.testing.assert_allclose(found.gradient_norms, expected.gradient_norms, rtol=1e-5)
    np.testing.assert_allclose(found.answers, expected.answers, rtol=1e-5)
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        np.testing.assert_allclose(found.weights[name], weight, atol=1e-6, rtol=1e-4, err_msg=name)


def main() -> None:
    """Train as one of several processes; the first writes down what each kind of training did."""
    folder, *kinds = sys.argv[1:]
    own = join_processes()
    for kind in kinds:
        path = Path(folder) / kind
        tiny = Tiny(Checkpoint(path / "checkpoint", "tiny", "0" * 64))
        trained = train_once(tiny, kind, path / "run", 2, own)
        if own.is_first:
            (path / "trained.json").write_text(json.dumps(asdict(trained)), encoding="utf-8")
    own.wait()


if __name__ == "__main__":
    main()
