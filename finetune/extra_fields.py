"""What `train.extra` may hold: fields of transformers.TrainingArguments that no key of a recipe decides, with values of their type.

Owns the list of those it may not, and why. Which values the recipe's own keys become is `training_arguments`. Imports no torch.
"""

import ast
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from finetune.errors import suggest
from finetune.yaml_nodes import KeyPath

NO_SECRETS = "secrets do not belong in recipes (set HF_TOKEN)"
NO_EFFECT = "it has no effect on this trainer's own batches and scores"
# TrainingArguments fields that can't be set freely: the recipe key or option that decides them, or why not.
OWNED_FIELDS = {
    "output_dir": "--out",
    "num_train_epochs": "train.epochs",
    "max_steps": "train.max_steps",
    "learning_rate": "train.learning_rate",
    "per_device_train_batch_size": "train.micro_batch_size",
    "per_device_eval_batch_size": "evaluate.batch_size",
    "gradient_accumulation_steps": "train.micro_batch_size",
    "lr_scheduler_type": "train.schedule",
    "warmup_steps": "train.warmup_ratio",
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.max_grad_norm",
    "bf16": "train.precision",
    "fp16": "train.precision",
    "bf16_full_eval": "train.precision",
    "fp16_full_eval": "train.precision",
    "train_sampling_strategy": "train.batching",
    "eval_strategy": "train.evaluate_every",
    "eval_steps": "train.evaluate_every",
    "do_train": "train",
    "do_eval": "train.evaluate_every",
    "do_predict": "train.evaluate_every",
    "save_strategy": "train.save_every",
    "save_steps": "train.save_every",
    "save_total_limit": "train.keep_checkpoints",
    "load_best_model_at_end": "train.keep_best",
    "metric_for_best_model": "task",
    "greater_is_better": "task",
    "label_smoothing_factor": "train.label_smoothing",
    "gradient_checkpointing": "train.gradient_checkpointing",
    "activation_checkpointing": "train.gradient_checkpointing",
    "torch_compile": "train.torch_compile",
    "full_determinism": "train.deterministic",
    "seed": "seeds",
    "data_seed": "seeds",
    "resume_from_checkpoint": "--resume",
    "logging_nan_inf_filter": "a value that is not finite always stops the run",
    "remove_unused_columns": NO_EFFECT,
    "auto_find_batch_size": "train.micro_batch_size",
    "hub_token": NO_SECRETS,
    "push_to_hub": "runs stay on this machine",
    "use_cpu": "the machine decides (CUDA_VISIBLE_DEVICES= hides GPUs)",
    "fsdp": "the launcher decides (recipes/accelerate/fsdp.yaml)",
    "fsdp_config": "the launcher decides (recipes/accelerate/fsdp.yaml)",
    "deepspeed": "the launcher decides (recipes/accelerate/deepspeed-zero-2.yaml)",
    "disable_tqdm": "the terminal decides",
    "restore_callback_states_from_checkpoint": "train.patience",
    "ignore_data_skip": "--resume",
    "save_only_model": "--resume",
    "eval_on_start": "train.evaluate_every",
    **dict.fromkeys(
        (
            "dataloader_drop_last",
            "dataloader_persistent_workers",
            "dataloader_prefetch_factor",
            "dataloader_in_order",
            "eval_accumulation_steps",
            "prediction_loss_only",
            "eval_do_concat_batches",
            "batch_eval_metrics",
            "include_for_metrics",
            "label_names",
            "length_column_name",
            "average_tokens_across_devices",
        ),
        NO_EFFECT,
    ),
}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
    "None": "null",
}


def list_extra_problems(extra: Mapping[str, Any], place: Callable[[KeyPath], str]) -> list[str]:
    """Return one line for each field of `train.extra` that is unknown, decided elsewhere, or of another type."""
    problems = []
    for name, value in extra.items():
        path = ("train", "extra", name)
        if name in OWNED_FIELDS:
            problem = f"not to be set here: {_why_owned(name)}"
        elif name not in list_training_arguments():
            problem = (
                f"transformers.TrainingArguments has no such field{suggest(name, tuple(list_training_arguments()))}"
            )
        elif not _kinds_of(value) & (allowed := list_training_arguments()[name]):
            words = [_WORDS[kind] for kind in _WORDS if kind in allowed]
            problem = f"found {value!r:.60}, allowed is {' or '.join(words)}"
        else:
            continue
        problems.append(f"{place(path)}: train.extra.{name}: {problem}")
    return problems


def _why_owned(name: str) -> str:
    owner = OWNED_FIELDS[name]
    return owner if " " in owner else f"use {owner}"


def _kinds_of(value: Any) -> set[str]:
    """Return the kinds of values that a value is one of."""
    if value is None:
        return {"None"}
    if isinstance(value, bool):
        return {"bool"}
    kinds = (("float", (int, float)), ("int", int), ("str", str), ("list", list), ("dict", Mapping))
    return {kind for kind, type_ in kinds if isinstance(value, type_)}


@cache
def list_training_arguments() -> Mapping[str, frozenset[str]]:
    """Return the fields of the installed `TrainingArguments` with the kinds of values that each takes.

    Read from its source, because importing it costs 12 seconds.
    """
    spec = find_spec("transformers")
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).with_name("training_args.py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments")
    return {
        item.target.id: frozenset(_kinds_in(item.annotation))
        for item in found.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _kinds_in(annotation: ast.expr) -> set[str]:
    """Return the kinds of values that an annotation such as `dict[str, Any] | str | None` allows; of an enumeration, text."""
    if isinstance(annotation, ast.BinOp):
        return _kinds_in(annotation.left) | _kinds_in(annotation.right)
    if isinstance(annotation, ast.Subscript):
        # Literal[False]
        name = ast.unparse(annotation.value)
        return {"bool"} if name == "Literal" else {name}
    name = ast.unparse(annotation)
    return {name if name in _WORDS else "str"}
