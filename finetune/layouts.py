"""Which column of a file plays which part, and which parts what a task learns needs.

Owns the rules of `data.columns`. Whether a file has such columns is for `data` to find. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from finetune.errors import SettingError
from finetune.recipe import Recipe
from finetune.task import Layout, ObjectiveName, Task, get_task

LEARNS_FROM_DOCUMENTS: Final[frozenset[ObjectiveName]] = frozenset(
    ("masked_lm", "causal_lm", "next_sentence", "pretraining")
)
"""Objectives whose rows are documents, without a label."""
MAKES_PAIRS: Final[frozenset[ObjectiveName]] = frozenset(("next_sentence", "pretraining"))
"""Objectives that make pairs of sentences of those documents."""
PAIR_TASK: Final = "pair-classification"
_COLUMNS: Final[Mapping[ObjectiveName, tuple[str, ...]]] = {
    "classification": ("text", "label"),
    "regression": ("text", "label"),
    "multilabel": ("text", "labels"),
    "minimal_pairs": ("text", "text_pair"),
    **dict.fromkeys(LEARNS_FROM_DOCUMENTS, ("text",)),
}


def build_layout(recipe: Recipe, base: Layout | None) -> Layout:
    """Return which column plays which part: all as the recipe states them, or all as the task's own files have them.

    Raises:
        SettingError: a part is named by neither, or has no place in what the task learns.
    """
    task = get_task(recipe.task)
    stated = _stated_columns(recipe)
    if base is None or stated:
        if problems := list_column_problems(recipe, task, base):
            raise SettingError("data.columns", problems[0])
        columns: dict[str, Any] = {**_default_columns(task), **stated}
        base = Layout(**columns)
    if recipe.data.header is not None:
        base = replace(base, header=recipe.data.header)
    return replace(
        base,
        delimiter=recipe.data.delimiter or base.delimiter,
        documents=recipe.data.documents or base.documents,
    )


def list_column_problems(recipe: Recipe, task: Task, base: Layout | None) -> list[str]:
    """Return what is wrong with the columns that a recipe states, `base` being those of the task's own files."""
    stated = _stated_columns(recipe)
    if base is not None and not stated:
        return []
    needed = _needed_columns(task, base)
    missing = [name for name in needed if name not in stated and name not in _default_columns(task)]
    problems = []
    if missing:
        what = f"{_list(needed)} {'have' if len(needed) > 1 else 'has'} to be named for task {task.name}"
        problems.append(what + (f"; missing: {_list(missing)}" if len(missing) < len(needed) else ""))
    for name in ("label", "labels", "text_pair"):
        # A pair of texts can be classified or given a number, even where the task could do with one text.
        is_welcome = name in needed or (name == "text_pair" and "label" in needed)
        if name in stated and not is_welcome:
            problems.append(f"{name} has no place in task {task.name}, which learns from {_list(needed)}")
    labels = stated.get("labels", ())
    problems += [f"labels: column '{name}' stands twice" for name in sorted({n for n in labels if labels.count(n) > 1})]
    return problems


def label_columns(layout: Layout) -> tuple[str, ...]:
    """Return the columns that hold what is to be learnt of a row."""
    return layout.labels if layout.label is None else (layout.label,)


def _needed_columns(task: Task, base: Layout | None) -> tuple[str, ...]:
    needed = _COLUMNS[task.objective]
    is_pair_task = task.name == PAIR_TASK or (base is not None and base.text_pair is not None)
    return ("text", "text_pair", *needed[1:]) if is_pair_task and "text_pair" not in needed else needed


def _default_columns(task: Task) -> dict[str, str]:
    """Return what need not be named: where there is nothing but text, its column may well be called so."""
    return {"text": "text"} if task.objective in LEARNS_FROM_DOCUMENTS else {}


def _stated_columns(recipe: Recipe) -> dict[str, Any]:
    """Return {part: column, a number as text} of the columns that the recipe names."""
    named = recipe.data.columns.model_dump(exclude_none=True)
    return {part: tuple(map(str, found)) if part == "labels" else str(found) for part, found in named.items()}


def _list(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
