"""What is wrong with a recipe, in words for users: one line a problem with its place, what was found, what is allowed.

Owns the wording of schema errors and the checks that need the task beside the recipe. Finds no files; imports no torch.
"""

import ast
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from finetune.errors import RecipeError, suggest
from finetune.metrics import get_metric
from finetune.recipe import Columns, Recipe, SplitPaths
from finetune.task import get_task
from finetune.yaml_nodes import KeyPath

Place = Callable[[KeyPath], str]

# TrainingArguments fields that a recipe key already decides, with that key.
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
    "logging_nan_inf_filter": "nothing: a value that is not finite always stops the run",
    "remove_unused_columns": "nothing: features hold what is needed",
    "auto_find_batch_size": "train.micro_batch_size",
    "hub_token": "nothing: secrets do not belong in recipes (set HF_TOKEN)",
    "push_to_hub": "nothing: runs stay on this machine",
    "use_cpu": "the machine (CUDA_VISIBLE_DEVICES= hides GPUs)",
    "disable_tqdm": "the terminal",
}


def list_validation_problems(error: ValidationError, values: Mapping[str, Any], place: Place) -> list[str]:
    """Return one line for each wrong value in `values`; alternatives of one value share a line."""
    by_path: dict[KeyPath, list[str]] = {}
    for details in error.errors():
        full = tuple(str(part) for part in details["loc"])
        # Where a value may be of several types, pydantic appends a name of each to the path.
        path = full if details["type"] in ("missing", "extra_forbidden") else _existing_prefix(values, full)
        message = _describe(details, path, values)
        if message not in by_path.setdefault(path, []):
            by_path[path].append(message)
    problems = []
    for path, messages in by_path.items():
        found, allowed = (
            messages[0].split("allowed is ", 1)
            if len(messages) > 1 and "allowed is " in messages[0]
            else (messages[0], "")
        )
        others = [message.split("allowed is ", 1)[-1] for message in messages[1:]]
        line = f"{found}allowed is {' or '.join([allowed, *others])}" if allowed else "; or ".join(messages)
        problems.append(f"{place(path)}: {'.'.join(path) or 'recipe'}: {line}")
    return problems


def _existing_prefix(values: Any, path: KeyPath) -> KeyPath:
    for length, key in enumerate(path):
        if isinstance(values, Mapping) and key in values:
            values = values[key]
        elif isinstance(values, list) and key.isdigit() and int(key) < len(values):
            values = values[int(key)]
        else:
            return path[:length]
    return path


def _describe(details: Any, path: KeyPath, values: Mapping[str, Any]) -> str:
    kind, message = details["type"], details["msg"]
    if kind == "missing":
        return "missing, and a recipe can't do without it"
    if kind == "extra_forbidden":
        return _describe_unknown_key(path)
    found = details["input"]
    shown = _show(found)
    if kind == "value_error":
        return f"found {shown}: {message.removeprefix('Value error, ')}"
    if path == ("model", "checkpoint") and kind == "string_pattern_mismatch":
        return f"found {shown}, allowed is a hub id such as google-bert/bert-base-uncased, a folder, or package:module"
    if kind == "model_type":
        return f"found {shown}, allowed is a mapping of keys"
    return f"found {shown}, allowed is {_allowed(message)}"


def _show(found: Any) -> str:
    if found is None:
        return "nothing (null)"
    text = str(found).lower() if isinstance(found, bool) else repr(found)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _allowed(message: str) -> str:
    for start in ("Input should be ", "String should ", "List should ", "Dictionary should "):
        if message.startswith(start):
            return message.removeprefix(start).removeprefix("a valid ").replace("'", "")
    return message[:1].lower() + message[1:]


@cache
def _sections() -> dict[KeyPath, tuple[str, ...]]:
    """Return the keys of each section of a recipe."""
    found: dict[KeyPath, tuple[str, ...]] = {("data", "path"): tuple(SplitPaths.model_fields)}

    def visit(model: type[BaseModel], path: KeyPath) -> None:
        found[path] = tuple(model.model_fields)
        for name, field in model.model_fields.items():
            for part in (field.annotation, *get_args(field.annotation)):
                if isinstance(part, type) and issubclass(part, BaseModel) and part is not SplitPaths:
                    visit(part, (*path, name))

    visit(Recipe, ())
    return found


def _describe_unknown_key(path: KeyPath) -> str:
    *parents, key = path
    sections = _sections()
    siblings = sections.get(tuple(parents), tuple(Columns.model_fields))
    near = suggest(key, siblings)
    homes = [
        ".".join((*section, key)) for section, keys in sections.items() if key in keys and section != tuple(parents)
    ]
    if homes and not near:
        return f"unknown key here; it belongs at {' or '.join(homes)}"
    # The whole list would bury the one name that was meant.
    return f"unknown key{near}" if near else f"unknown key, allowed are {', '.join(siblings)}"


def list_semantic_problems(recipe: Recipe, place: Place) -> list[str]:
    """Return what a recipe of the right shape still says wrongly: task, metrics, labels, fields of `train.extra`."""
    problems = list_task_problems({"task": recipe.task}, place)
    if problems:
        return problems
    task = get_task(recipe.task)
    for name in recipe.expect:
        try:
            get_metric(name)
        except RecipeError as error:
            problems += [f"{place(('expect', name))}: expect.{name}: {problem}" for problem in error.problems]
            continue
        if name not in task.metrics:
            problems.append(
                f"{place(('expect', name))}: expect.{name}: task {task.name} is not scored by it, "
                f"its metrics are {', '.join(task.metrics)}"
            )
    if task.source is None and recipe.data.path is None:
        problems.append(f"{place(('data',))}: data.path: missing; task {task.name} has no data of its own")
    if (
        task.source is None
        and recipe.data.path is not None
        and (recipe.data.columns.text is None or recipe.data.columns.label is None)
    ):
        problems.append(
            f"{place(('data', 'columns'))}: data.columns: text and label have to be named for task {task.name}"
        )
    if isinstance(recipe.data.labels, list) and len(set(recipe.data.labels)) != len(recipe.data.labels):
        problems.append(f"{place(('data', 'labels'))}: data.labels: a label stands twice in {recipe.data.labels}")
    if recipe.train is not None and recipe.train.extra:
        problems += _list_extra_problems(recipe.train.extra, place)
    return problems


def list_task_problems(values: Mapping[str, Any], place: Place) -> list[str]:
    """Return what is wrong with the task's name, which can be said of a recipe of any shape."""
    name = values.get("task")
    if not isinstance(name, str):
        return []
    try:
        get_task(name)
    except RecipeError as error:
        return [f"{place(('task',))}: {problem}" for problem in error.problems]
    return []


def _list_extra_problems(extra: Mapping[str, Any], place: Place) -> list[str]:
    problems = []
    for name in extra:
        path = ("train", "extra", name)
        if name in OWNED_FIELDS:
            problems.append(f"{place(path)}: train.extra.{name}: the recipe owns this field, use {OWNED_FIELDS[name]}")
        elif name not in list_training_argument_names():
            near = suggest(name, list_training_argument_names())
            problems.append(
                f"{place(path)}: train.extra.{name}: transformers.TrainingArguments has no such field{near}"
            )
    return problems


@cache
def list_training_argument_names() -> tuple[str, ...]:
    """Return the fields of the installed `TrainingArguments`, read from its source because importing it costs 12 seconds."""
    spec = find_spec("transformers")
    assert spec is not None and spec.origin is not None
    tree = ast.parse(Path(spec.origin).with_name("training_args.py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TrainingArguments")
    return tuple(
        item.target.id for item in found.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    )
