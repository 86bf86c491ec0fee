"""One training: a model, its rows and a recipe in; the fitted model and what it took out.

Owns which callbacks watch it, and what is summed up at its end. What the Trainer does differently here is `trainer`.
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback

from finetune.batching import BatchPlan
from finetune.callbacks import EventLog, LogBeforeKeeping, ObeySignals, ProgressBar, SaveWhenScored, StopAtNonFinite
from finetune.errors import FinetuneError, RecipeError, UnavailableError, first_line
from finetune.features import FeatureRows
from finetune.machine import Precision
from finetune.model import LoadedModel
from finetune.objective import TrainedObjective
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from finetune.stopping import wait_for_step
from finetune.trainer import FinetuneTrainer
from finetune.training_arguments import build_arguments
from finetune.wording import list_words


@dataclass(frozen=True)
class TrainOutcome:
    """What fitting took; tokens are summed over processes."""

    seconds: float
    examples: int
    tokens: int
    padded_tokens: int
    final_loss: float | None
    dev_score: float | None


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
        RecipeError, UnavailableError: training can't begin with what `train.extra` states.
        InvalidResultError: a loss or gradient is not finite.
        StoppedError: a signal asked for it; the last step is saved.
    """
    settings = recipe.train
    assert settings is not None
    arguments = build_arguments(
        recipe, settings, run_dir.checkpoints, plan, seed, precision, metric, has_dev=dev is not None
    )
    with _blame_extra(settings.extra, lambda: False):
        try:
            trainer = FinetuneTrainer(
                loaded, arguments, train, dev, plan, settings, objective, metric, recipe.evaluate.batch_size
            )
        except (RuntimeError, ImportError, ValueError) as error:
            # A tracker that isn't installed or doesn't exist; other faults keep their traceback.
            if not arguments.report_to:
                raise
            trackers = ", ".join(arguments.report_to)
            raise UnavailableError(f"train.extra.report_to: {trackers} is not installed here, or no tracker") from error
    bar = ProgressBar(title, metric)
    obey = ObeySignals(trainer.writer.wait, can_resume=not trainer.is_cut)
    for callback in (obey, SaveWhenScored(), LogBeforeKeeping(), StopAtNonFinite(), EventLog(run_dir.events), bar):
        trainer.add_callback(callback)
    if settings.patience is not None and dev is not None:
        trainer.add_callback(EarlyStoppingCallback(settings.patience))
    try:
        with wait_for_step(), _blame_extra(settings.extra, lambda: trainer.examples_seen > 0):
            trainer.train(resume_from_checkpoint=None if resume_from is None else str(resume_from))
            trainer.writer.wait()
    except Exception:
        # The last good checkpoint is to become whole; a second signal alone doesn't wait for it.
        with suppress(FinetuneError):
            trainer.writer.wait()
        raise
    finally:
        bar.bar.stop()
    seconds = trainer.seconds
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


@contextmanager
def _blame_extra(extra: Mapping[str, Any], has_begun: Callable[[], bool]) -> Generator[None]:
    """Take an error of libraries before the first batch for one of what `train.extra` states: all else was checked before."""
    try:
        yield
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        if not extra or has_begun():
            raise
        fields = list_words([f"train.extra.{name}" for name in extra])
        problem = f"{fields}: training can't begin with this: {first_line(error)}"
        raise (UnavailableError(problem) if isinstance(error, ImportError) else RecipeError([problem])) from error
