"""What a recipe states that has no meaning for what its task learns, in words for users.

Owns which keys belong to which objectives. Wrong keys and types are `recipe_problems`, columns `layouts`. Imports no torch.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from finetune.documents import TEXT_SUFFIX
from finetune.layouts import LEARNS_FROM_DOCUMENTS, list_column_problems
from finetune.readers import SUFFIXES
from finetune.recipe import Recipe
from finetune.recipe_sections import SplitPaths, TrainSettings
from finetune.task import ObjectiveName, Task
from finetune.yaml_nodes import KeyPath

Problem = tuple[KeyPath, str]
# Keys of `train` that only some objectives know; at its default a key says nothing.
_TRAIN_KEYS: Final[dict[str, tuple[ObjectiveName, ...]]] = {
    "class_weights": ("classification", "multilabel", "next_sentence"),
    "label_smoothing": ("classification", "next_sentence"),
    "mask_probability": ("masked_lm", "pretraining"),
    "whole_word_masking": ("masked_lm", "pretraining"),
    "auxiliary_lm_weight": ("classification",),
}
_WORDS: Final[dict[ObjectiveName, str]] = {
    "classification": "classification",
    "next_sentence": "next sentence prediction",
    "regression": "regression",
    "multilabel": "multi-label classification",
    "masked_lm": "masked language modelling",
    "causal_lm": "causal language modelling",
    "pretraining": "pretraining",
    "minimal_pairs": "a comparison of minimal pairs",
}
_NAMED_LABELS: Final[tuple[ObjectiveName, ...]] = ("classification", "multilabel")


def list_objective_problems(recipe: Recipe, task: Task) -> list[Problem]:
    """Return the key of each value that doesn't fit the objective of a task, and what is wrong with it."""
    return [*_check_data(recipe, task), *_check_train(recipe, task), *_check_evaluate(recipe, task)]


def _check_data(recipe: Recipe, task: Task) -> Iterator[Problem]:
    data, source = recipe.data, task.source
    if source is None and data.path is None:
        yield ("data", "path"), f"missing; task {task.name} has no data of its own"
    elif columns := list_column_problems(recipe, task, source.layout if source else None):
        yield from ((("data", "columns"), problem) for problem in columns)
    stated = (data.path.train, data.path.dev, data.path.test) if isinstance(data.path, SplitPaths) else (data.path,)
    suffixes = {Path(path).suffix.lower() for path in stated if path} - {""}
    if task.objective not in LEARNS_FROM_DOCUMENTS:
        if TEXT_SUFFIX in suffixes:
            yield (
                ("data", "path"),
                f"a {TEXT_SUFFIX} file holds texts alone, and task {task.name} needs more columns; it takes {', '.join(SUFFIXES)}",
            )
        if data.documents is not None:
            yield ("data", "documents"), _misplaced(task, LEARNS_FROM_DOCUMENTS)
    elif data.documents is not None and suffixes and suffixes <= set(SUFFIXES):
        yield ("data", "documents"), f"it cuts {TEXT_SUFFIX} files; in a table each row is a document"
    if data.labels is not None:
        if task.objective not in _NAMED_LABELS:
            yield ("data", "labels"), _misplaced(task, _NAMED_LABELS)
        elif len(set(data.labels)) != len(data.labels):
            yield ("data", "labels"), f"a label stands twice in {data.labels}"
        elif task.objective == "multilabel" and isinstance(data.labels, dict):
            yield ("data", "labels"), "a list of names, one a column of data.columns.labels, is expected"
        elif task.objective == "multilabel" and data.columns.labels and len(data.labels) != len(data.columns.labels):
            yield (
                ("data", "labels"),
                f"{len(data.labels)} names, but data.columns.labels has {len(data.columns.labels)}",
            )


def _check_train(recipe: Recipe, task: Task) -> Iterator[Problem]:
    train = recipe.train
    if train is None:
        return
    if task.objective == "minimal_pairs":
        yield ("train",), f"task {task.name} only measures; state train: null"
    for key, objectives in _TRAIN_KEYS.items():
        if task.objective not in objectives and getattr(train, key) != TrainSettings.model_fields[key].default:
            yield ("train", key), _misplaced(task, objectives)


def _check_evaluate(recipe: Recipe, task: Task) -> Iterator[Problem]:
    evaluate = recipe.evaluate
    is_classification = task.objective == "classification"
    for key, is_stated in (("temperature", evaluate.temperature), ("threshold", evaluate.threshold is not None)):
        if is_stated and not is_classification:
            yield ("evaluate", key), _misplaced(task, ("classification",))
        elif is_stated and recipe.train is None:
            yield ("evaluate", key), "it is fitted on dev rows, of which train: null has none"
    if evaluate.prompt is None:
        return
    if not is_classification:
        yield ("evaluate", "prompt"), _misplaced(task, ("classification",))
    elif recipe.train is not None:
        yield ("evaluate", "prompt"), "a model is asked by prompt instead of being fine-tuned; state train: null"
    elif task.prompt is None and (evaluate.prompt.template is None or evaluate.prompt.answers is None):
        yield ("evaluate", "prompt"), f"task {task.name} has no prompt of its own; state template and answers"


def _misplaced(task: Task, objectives: Iterable[ObjectiveName]) -> str:
    return f"{_WORDS[task.objective]} has no use for it; it is for {', '.join(sorted(_WORDS[name] for name in objectives))}"
