"""What happens beside training: the answer to signals, the event log, the stop at the first number that is not finite, the progress bar.

Owns transformers callbacks. Changes no number of the training.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finetune.errors import InvalidResultError
from finetune.stopping import SIGNALS, Request

EVENT_NAMES = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "gradient_norm"}


class ObeySignals(TrainerCallback):
    """Save, or save and stop, when a signal asked any process of the run to; all of them do so after the same step.

    What they agree on was asked by the end of the step before, so that nobody waits for the others: the answers cross the network while
    the next step is computed.
    """

    def __init__(self, finish_saving: Callable[[], None], *, can_resume: bool) -> None:
        """Begin with nothing asked; `finish_saving` waits for the last checkpoint, `can_resume` is False where weights are cut."""
        self.finish_saving, self.can_resume, self.agreed = finish_saving, can_resume, Request.NOTHING
        self.group: Any = None
        self.vote: tuple[Any, Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open a line on which processes agree without their GPUs."""
        if args.world_size > 1:
            self.group = distributed.new_group(backend="gloo")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint where a signal asked for one."""
        self.agreed = self._agree(SIGNALS.take(), is_last=state.global_step >= state.max_steps)
        if self.agreed >= Request.STOP:
            SIGNALS.note(self.agreed, "a signal to another process")
        control.should_save = control.should_save or self.agreed > Request.NOTHING
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop if that was asked, now that the step is saved.

        Raises:
            StoppedError: with the exit code of what was asked.
        """
        if self.agreed >= Request.STOP:
            self.finish_saving()
            if self.group is not None:
                # Whoever leaves first must not be taken for a failure while another still writes.
                distributed.barrier(group=self.group)
            raise SIGNALS.describe(f"after step {state.global_step}, which is saved", can_go_on=self.can_resume)

    def _agree(self, own: Request, *, is_last: bool) -> Request:
        """Return the most urgent that any process was asked, by the step before; after the last step, by now."""
        if self.group is None:
            return own
        before = self._count_votes()
        asked = torch.tensor([max(own, before) if is_last else own])
        self.vote = distributed.all_reduce(asked, distributed.ReduceOp.MAX, self.group, async_op=True), asked
        return self._count_votes() if is_last else before

    def _count_votes(self) -> Request:
        if self.vote is None:
            return Request.NOTHING
        (work, asked), self.vote = self.vote, None
        work.wait()
        return Request(int(asked))


class SaveWhenScored(TrainerCallback):
    """Save after the last step of an epoch, or of all, only when its end is dealt with, so that no score is lost in between."""

    def __init__(self) -> None:
        """Begin with nothing to save."""
        self.is_due = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Put off what would be saved too early."""
        is_last = float(state.epoch or 0.0).is_integer() or control.should_training_stop
        self.is_due, control.should_save = control.should_save and is_last, control.should_save and not is_last
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Save what was put off."""
        control.should_save, self.is_due = control.should_save or self.is_due, False
        return control


class LogBeforeKeeping(TrainerCallback):
    """Log the loss whenever the model is scored or saved, and at the end, so that a bad number is seen before it is kept."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a log line where one is needed."""
        if control.should_save or control.should_evaluate or state.global_step >= state.max_steps:
            control.should_log = True
        return control

    # The Trainer settles what is saved and scored by epoch only here; a second log of a step is left out by it.
    on_epoch_end = on_step_end


class StopAtNonFinite(TrainerCallback):
    """Stop at the first loss or gradient norm that is not finite."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Look at what was logged.

        Raises:
            InvalidResultError: naming the step.
        """
        for name in ("loss", "grad_norm"):
            value = (logs or {}).get(name)
            if name == "grad_norm" and args.fp16:
                # The scaler of 16-bit floats finds its scale by overflowing; it skips those steps itself.
                continue
            if value is not None and not math.isfinite(value):
                rate = (logs or {}).get("learning_rate", float("nan"))
                word = {"loss": "loss", "grad_norm": "gradient"}[name]
                raise InvalidResultError(
                    f"the {word} is not finite at step {state.global_step} (learning rate {rate:.2g}); the run stops "
                    "here and reports nothing. A lower learning rate or fp32 often helps"
                )


class EventLog(TrainerCallback):
    """Append what is logged to events.jsonl, one line a moment, without gap or repetition after a resume."""

    def __init__(self, path: Path) -> None:
        """Write to `path`."""
        self.path = path
        self.started = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop lines of steps that will be trained again."""
        if not state.is_world_process_zero:
            return
        kept = []
        if state.global_step and self.path.exists():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= state.global_step]
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the moment."""
        # A number that is not finite (a scaler's overflow, an undefined dev score) has no place in JSON.
        numbers = {name: value if math.isfinite(value) else None for name, value in (logs or {}).items()}
        found = {ours: numbers[theirs] for theirs, ours in EVENT_NAMES.items() if theirs in numbers}
        scores = {name.removeprefix("eval_"): value for name, value in numbers.items() if name.startswith("eval_")}
        if not state.is_world_process_zero or not (found or scores):
            return
        event = {
            "step": state.global_step,
            "epoch": round(state.epoch or 0.0, 4),
            **found,
            **({"dev": scores} if scores else {}),
            "seconds": round(time.monotonic() - self.started, 3),
        }
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, allow_nan=False) + "\n")


def _step_of(line: str) -> float:
    """Return the step of an event; infinity for a line that a kill has torn."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class ProgressBar(TrainerCallback):
    """Show loss, dev score and time left on a terminal; say nothing elsewhere."""

    def __init__(self, title: str, metric: str) -> None:
        """Show `title` before the bar and `metric` after it."""
        self.metric = metric
        self.bar = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self.shown = {"loss": "", "score": ""}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the bar."""
        if state.is_world_process_zero:
            self.bar.start()
            self.task = self.bar.add_task("", total=state.max_steps, completed=state.global_step, shown="")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Move the bar."""
        if not state.is_world_process_zero or not logs:
            return
        if "loss" in logs:
            self.shown["loss"] = f"loss {logs['loss']:.3f}"
        if f"eval_{self.metric}" in logs:
            self.shown["score"] = f"dev {logs[f'eval_{self.metric}']:.3f}"
        self.bar.update(self.task, completed=state.global_step, shown=" ".join(filter(None, self.shown.values())))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        self.bar.stop()
