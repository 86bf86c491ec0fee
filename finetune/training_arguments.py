"""From a recipe to transformers.TrainingArguments.

Owns which of their fields a recipe decides, and which are open to `train.extra`. The training is `trainer`.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from finetune.batching import BatchPlan
from finetune.errors import RecipeError, first_line
from finetune.machine import Precision
from finetune.metrics import get_metric
from finetune.recipe import Recipe
from finetune.recipe_sections import TrainSettings


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
