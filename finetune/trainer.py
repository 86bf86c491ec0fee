"""The one wrapper round transformers.Trainer.

Owns how a recipe becomes TrainingArguments and what the Trainer does differently here. Everything else (accelerate, optimizer,
schedule, checkpoints, trackers, resume) is the Trainer's own. Overridden, their signatures pinned by a test:

    get_train_dataloader   our batches, cut without repeating or dropping a row
    get_batch_samples      the summed weights of a whole batch, over accumulation steps and processes
    compute_loss           the objective's losses divided by those sums (see `loss`)
    evaluate               what the objective answers to dev rows, scored by `metrics`
    _save                  without training_args.bin, a pickle
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PreTrainedModel, PrinterCallback, Trainer, TrainingArguments

from finetune.batching import BatchPlan, SlotDataset, TrainBatches
from finetune.callbacks import EventLog, LogBeforeKeeping, ProgressBar, StopAtNonFinite
from finetune.errors import RecipeError, UnavailableError, first_line
from finetune.features import FeatureRows
from finetune.loss import divide_losses
from finetune.machine import Precision
from finetune.metrics import get_metric, score
from finetune.model import LoadedModel, place_on_device
from finetune.objective import TrainedObjective
from finetune.processes import gather_weights
from finetune.recipe import Recipe
from finetune.recipe_sections import TrainSettings
from finetune.run_dir import RunDir


@dataclass(frozen=True)
class TrainOutcome:
    """What fitting took; tokens are summed over processes, of this session only where a run was resumed."""

    seconds: float
    examples: int
    tokens: int
    padded_tokens: int
    final_loss: float | None
    dev_score: float | None


class TrainLoader(DataLoader):
    """A data loader that tells its batches the epoch, which accelerate's does only for samplers of its own."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        assert isinstance(self.batch_sampler, TrainBatches)
        self.batch_sampler.set_epoch(epoch)


class FinetuneTrainer(Trainer):
    """transformers.Trainer with our batches, our loss and our dev scores."""

    # Our loss is divided by the weight of the whole accumulated batch already.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        loaded: LoadedModel,
        arguments: TrainingArguments,
        train: FeatureRows,
        dev: FeatureRows | None,
        plan: BatchPlan,
        settings: TrainSettings,
        objective: TrainedObjective,
        metric: str,
        evaluation_batch_size: int,
    ) -> None:
        """Wrap a loaded model and its features."""
        super().__init__(
            model=loaded.model,
            args=arguments,
            train_dataset=SlotDataset(train),
            data_collator=objective.collate,
            eval_dataset=SlotDataset(dev) if dev is not None else None,
            processing_class=loaded.tokenizer,
        )
        self.remove_callback(PrinterCallback)
        self.whole_model = loaded.model
        if self.is_fsdp_enabled:
            # Training cuts weights over the processes where they are; one process can neither ask nor write cut ones.
            self.model = self.model_wrapped = copy.deepcopy(loaded.model)
        self.train_features, self.dev_features, self.trained_objective = train, dev, objective
        self.plan, self.settings, self.metric = plan, settings, metric
        self.evaluation_batch_size = evaluation_batch_size
        self.tokens_seen, self.padded_tokens_seen, self.examples_seen = 0, 0, 0

    def get_train_dataloader(self) -> DataLoader:
        """Return this process's micro-batches; accelerate would share them out again, so it doesn't prepare them."""
        batches = TrainBatches(
            self.train_features.lengths, self.plan, self.settings.batching, self.args.seed, self.args.process_index
        )
        return TrainLoader(
            SlotDataset(self.train_features),
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Return the micro-batches of one optimizer step and the weight of all rows in it."""
        samples = list(islice(epoch_iterator, num_batches))
        for sample in samples:
            self.examples_seen += int(sample.pop("example_count"))
            self.tokens_seen += int(sample.pop("token_count"))
            self.padded_tokens_seen += sample["input_ids"].numel()
        weights = [self.trained_objective.sum_weights(sample) for sample in samples]
        total = torch.stack(weights).sum(dim=0).to(device) if samples else None
        if total is not None and self.args.world_size > 1:
            total = self.accelerator.reduce(total, reduction="sum")
        return samples, total

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return this share's part of the batch's loss, times the processes whose mean DDP takes."""
        own = self.trained_objective.sum_weights(inputs)
        sums, outputs = self.trained_objective.sum_losses(model, inputs)
        total = num_items_in_batch if isinstance(num_items_in_batch, Tensor) else own
        loss = divide_losses(sums, total) * self.args.world_size
        return (loss, outputs) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Score the dev rows and tell the callbacks."""
        assert self.dev_features is not None
        answers = self.trained_objective.answer(
            self.gather_model(),
            self.dev_features,
            self.evaluation_batch_size,
            process=self.args.process_index,
            processes=self.args.world_size,
        )
        value = score(self.metric, answers).value
        # An undefined dev score (one label only) can never be the best.
        worst = -math.inf if get_metric(self.metric).higher_is_better else math.inf
        metrics = {f"{metric_key_prefix}_{self.metric}": worst if value is None else value}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def gather_model(self) -> PreTrainedModel:
        """Return the model with the weights of now, whole on each process; all of them have to call this."""
        if self.is_fsdp_enabled:
            gather_weights(cast(nn.Module, self.model), self.whole_model)
            place_on_device(self.whole_model)
        return self.whole_model

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        super()._save(output_dir, state_dict)
        (Path(output_dir or str(self.args.output_dir)) / "training_args.bin").unlink(missing_ok=True)


def build_arguments(
    recipe: Recipe,
    settings: TrainSettings,
    out: Path,
    plan: BatchPlan,
    seed: int,
    precision: Precision,
    metric: str,
    *,
    has_dev: bool,
) -> TrainingArguments:
    """Return the TrainingArguments of a recipe.

    Raises:
        RecipeError: a value in `train.extra` is refused by transformers.
    """
    keeps_best = settings.selects_on_dev and has_dev
    # The Trainer can only return to a state that it saved, so the best is saved when it is scored.
    saving = settings.evaluate_every if keeps_best else settings.save_every
    # Reading the loss stops a GPU until it is there, so not every step; a CPU has nothing to wait for.
    logging_steps = 10 if torch.cuda.is_available() else 1
    owned: dict[str, Any] = {
        "output_dir": str(out),
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        # A value below 1 is a share of all steps in this version.
        "warmup_steps": settings.warmup_ratio,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "per_device_train_batch_size": plan.micro,
        "gradient_accumulation_steps": plan.accumulation,
        "per_device_eval_batch_size": recipe.evaluate.batch_size,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": not torch.accelerator.is_available(),
        **_every("eval", settings.evaluate_every if has_dev else None),
        **_every("save", saving),
        "save_total_limit": settings.keep_checkpoints,
        "load_best_model_at_end": keeps_best,
        "metric_for_best_model": metric if has_dev else None,
        "greater_is_better": get_metric(metric).higher_is_better,
        "activation_checkpointing": settings.gradient_checkpointing,
        "torch_compile": settings.torch_compile,
        "full_determinism": settings.deterministic,
        "seed": seed,
        "logging_nan_inf_filter": False,
        # Patience goes on counting after a resume.
        "restore_callback_states_from_checkpoint": settings.patience is not None,
        "remove_unused_columns": False,
        "disable_tqdm": True,
    }
    # Every weight takes part in each step, be it with a gradient of zero, so DDP need not look for those that don't.
    defaults = {"logging_steps": logging_steps, "report_to": "none", "ddp_find_unused_parameters": False}
    open_fields: dict[str, Any] = {**defaults, **settings.extra}
    try:
        return TrainingArguments(**owned, **open_fields)
    except (ValueError, TypeError, ImportError) as error:
        raise RecipeError([f"train: {first_line(error)}"]) from None


def _every(kind: str, every: int | str | None) -> dict[str, Any]:
    if every is None or every == "never":
        return {f"{kind}_strategy": "no"}
    if every == "epoch":
        return {f"{kind}_strategy": "epoch"}
    return {f"{kind}_strategy": "steps", f"{kind}_steps": every}


def train_model(
    loaded: LoadedModel,
    train: FeatureRows,
    dev: FeatureRows | None,
    recipe: Recipe,
    run_dir: RunDir,
    *,
    plan: BatchPlan,
    seed: int,
    precision: Precision,
    metric: str,
    objective: TrainedObjective,
    title: str,
    resume_from: Path | None = None,
) -> TrainOutcome:
    """Fit the model in place; with dev and `keep_best` or `patience` it ends with its best weights, computing in 32-bit floats.

    Raises:
        InvalidResultError: a loss or gradient is not finite.
    """
    settings = recipe.train
    assert settings is not None
    arguments = build_arguments(
        recipe, settings, run_dir.checkpoints, plan, seed, precision, metric, has_dev=dev is not None
    )
    try:
        trainer = FinetuneTrainer(
            loaded, arguments, train, dev, plan, settings, objective, metric, recipe.evaluate.batch_size
        )
    except (RuntimeError, ImportError, ValueError) as error:
        # A tracker that isn't installed or doesn't exist; other faults keep their traceback.
        if arguments.report_to:
            trackers = ", ".join(arguments.report_to)
            raise UnavailableError(f"train.extra.report_to: {trackers} is not installed here, or no tracker") from error
        raise
    bar = ProgressBar(title, metric)
    for callback in (LogBeforeKeeping(), StopAtNonFinite(), EventLog(run_dir.events), bar):
        trainer.add_callback(callback)
    if settings.patience is not None and dev is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    started = time.monotonic()
    try:
        trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
    finally:
        bar.bar.stop()
    seconds = time.monotonic() - started
    # accelerate leaves the model computing in the training's number format, which the saved model won't.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    trainer.gather_model()
    counts = (trainer.examples_seen, trainer.tokens_seen, trainer.padded_tokens_seen)
    seen = torch.tensor(counts, device=arguments.device)
    if arguments.world_size > 1:
        seen = trainer.accelerator.reduce(seen, reduction="sum")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    scores = [entry[f"eval_{metric}"] for entry in trainer.state.log_history if f"eval_{metric}" in entry]
    best = trainer.state.best_metric if settings.selects_on_dev else scores[-1] if scores else None
    best = best if best is not None and math.isfinite(best) else None
    examples, tokens, padded = (int(value) for value in seen)
    return TrainOutcome(seconds, examples, tokens, padded, losses[-1] if losses else None, best)
