"""The one wrapper round transformers.Trainer.

Owns what the Trainer does differently here. Everything else (accelerate, optimizer, schedule, trackers, the loop) is the Trainer's own.
Overridden, their signatures pinned by a test:

    get_train_dataloader            our batches, cut without repeating or dropping a row
    get_batch_samples               the summed weights of a whole batch, over accumulation steps and processes
    compute_loss                    the objective's losses divided by those sums (see `loss`)
    evaluate                        what the objective answers to dev rows, scored by `metrics`
    _save                           without training_args.bin, a pickle
    _save_checkpoint                whole or not at all, without pickles (see `checkpoint_files` and `training_state`)
    _init_training_state            where the best weights lie now; a training that had ended isn't trained on
    _load_from_checkpoint, _load_optimizer_and_scheduler, _load_scaler, _load_rng_state, _load_best_model
                                    the same, read back
"""

import copy
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState

from finetune.batching import BatchPlan, SlotDataset, TrainBatches
from finetune.checkpoint_files import checkpoint_path
from finetune.checkpoint_writer import CheckpointWriter
from finetune.errors import RecipeError
from finetune.features import FeatureRows
from finetune.loss import divide_losses
from finetune.metrics import get_metric, score
from finetune.model import LoadedModel, place_on_device
from finetune.objective import TrainedObjective
from finetune.packing import settle_batching
from finetune.processes import gather_weights, refuse_uncuttable
from finetune.recipe_sections import TrainSettings
from finetune.training_state import (
    capture_generators,
    read_state,
    restore_generators,
    restore_optimizer,
    restore_weights,
    write_state,
)


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
            refuse_uncuttable(loaded.model)
            self.model = self.model_wrapped = copy.deepcopy(loaded.model)
        self.train_features, self.dev_features, self.trained_objective = train, dev, objective
        self.plan, self.settings, self.metric = plan, settings, metric
        self.evaluation_batch_size = evaluation_batch_size
        self.tokens_seen, self.padded_tokens_seen, self.examples_seen = 0, 0, 0
        self.folder = Path(str(arguments.output_dir))
        self.writer = CheckpointWriter(self.folder, settings.keep_checkpoints)
        self.seconds_before, self.started = 0.0, time.monotonic()

    def get_train_dataloader(self) -> DataLoader:
        """Return this process's micro-batches; accelerate would share them out again, so it doesn't prepare them."""
        batches = TrainBatches(
            self.train_features.lengths,
            self.plan,
            settle_batching(self.settings.batching, self.trained_objective.layout),
            self.args.seed,
            self.args.process_index,
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
            self._count(int(sample.pop("example_count")), int(sample.pop("token_count")), sample["input_ids"].numel())
        weights = [self.trained_objective.sum_weights(sample) for sample in samples]
        total = torch.stack(weights).sum(dim=0).to(device) if samples else None
        if total is not None and self.args.world_size > 1:
            total = self.accelerator.reduce(total, reduction="sum")
        return samples, total

    def _count(self, examples: int, tokens: int, padded_tokens: int) -> None:
        self.examples_seen += examples
        self.tokens_seen += tokens
        self.padded_tokens_seen += padded_tokens

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

    @property
    def seconds(self) -> float:
        """What training took until now, those of interrupted sessions included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def is_cut(self) -> bool:
        """Say whether weights are cut over the processes, which only upstream knows how to keep; such a run isn't resumed."""
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        if self.is_cut:
            self.args.save_total_limit = self.settings.keep_checkpoints
            return super()._save_checkpoint(model, trial)
        self.store_flos()
        own = {
            "generators": capture_generators(),
            "seen": [self.examples_seen, self.tokens_seen, self.padded_tokens_seen],
            "seconds": self.seconds,
        }
        processes = gather_object([own])
        best = self.state.best_global_step if self.args.load_best_model_at_end else None
        if best is not None:
            self.state.best_model_checkpoint = str(checkpoint_path(self.folder, best))
        callbacks = [*self.callback_handler.callbacks, self.control]
        kept: Any = [callback for callback in callbacks if isinstance(callback, ExportableState)]
        self.state.stateful_callbacks = TrainerState(stateful_callbacks=kept).stateful_callbacks
        if self.args.should_save:
            step = self.state.global_step
            needs = [best] if best is not None and best != step else []
            self.writer.write(step, lambda folder: self._fill_checkpoint(folder, processes), needs)
        return None

    def _fill_checkpoint(self, folder: Path, processes: list[dict[str, Any]]) -> None:
        assert self.model is not None
        is_over = self.state.global_step >= self.state.max_steps
        optimizer = None if is_over else self.optimizer
        write_state(folder, self.model, optimizer, self.lr_scheduler, self.accelerator.scaler, processes)
        self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def _init_training_state(
        self,
        max_steps: int,
        num_update_steps_per_epoch: int,
        num_train_epochs: int,
        resume_from_checkpoint: Any,
        trial: Any,
    ) -> tuple[int, int]:
        epochs, batches = super()._init_training_state(
            max_steps, num_update_steps_per_epoch, num_train_epochs, resume_from_checkpoint, trial
        )
        if resume_from_checkpoint is None:
            return epochs, batches
        state = read_state(Path(resume_from_checkpoint))
        processes = state["processes"]
        # Where fewer processes go on, each takes over what some that are gone have counted.
        for process in processes[self.args.process_index :: self.args.world_size]:
            self._count(*process["seen"])
        self.seconds_before = processes[0]["seconds"]
        if self.args.load_best_model_at_end and self.state.best_global_step is not None:
            # The folder may have been moved since.
            self.state.best_model_checkpoint = str(checkpoint_path(self.folder, self.state.best_global_step))
        patient = [
            callback for callback in self.callback_handler.callbacks if isinstance(callback, EarlyStoppingCallback)
        ]
        is_over = self.state.global_step >= max_steps or any(
            callback.early_stopping_patience_counter >= callback.early_stopping_patience for callback in patient
        )
        if is_over:
            self._load_rng_state(resume_from_checkpoint)
        elif state["optimizer"] is None:
            raise RecipeError(
                [
                    f"{resume_from_checkpoint}: training was over here and its optimizer is not kept, so no steps can be added; "
                    "remove this checkpoint to go on from an earlier one, or from the start where there is none"
                ]
            )
        return (num_train_epochs, 0) if is_over else (epochs, batches)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        restore_weights(Path(resume_from_checkpoint), model or cast(nn.Module, self.model))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_optimizer(Path(checkpoint), self.optimizer, self.lr_scheduler)

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(read_state(Path(checkpoint))["scaler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        processes = read_state(Path(checkpoint))["processes"]
        # Where the number of processes was allowed to change, a new one keeps what its seed gave it.
        if self.args.process_index < len(processes):
            restore_generators(processes[self.args.process_index]["generators"])

    def _load_best_model(self) -> None:
        assert self.state.best_model_checkpoint is not None and self.model is not None
        if self.is_cut:
            super()._load_best_model()
        else:
            # The first process may still be writing it.
            self.writer.wait()
            self.accelerator.wait_for_everyone()
            restore_weights(Path(self.state.best_model_checkpoint), self.model)
