"""What is wrong with a recipe, in words for users: one line a problem with its place, what was found, what is allowed.

Owns the wording of schema errors and of wrong names. What a task can't do with a recipe is `objective_problems`. Finds no files;
imports no torch.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from finetune.answers import Answers
from finetune.errors import RecipeError, suggest
from finetune.extra_fields import NO_SECRETS, list_extra_problems
from finetune.metrics import METRICS, get_metric, list_metrics
from finetune.objective_problems import list_objective_problems
from finetune.recipe import Band, Recipe
from finetune.recipe_sections import SplitPaths
from finetune.task import get_task
from finetune.yaml_nodes import KeyPath

Place = Callable[[KeyPath], str]

# How tokens of the hub, of OpenAI, GitHub, GitLab, Slack and AWS begin.
_SECRET = re.compile(
    r"\b((hf_|sk-(proj-)?|gh[pousr]_|github_pat_)[A-Za-z0-9_]{16}|(glpat-|xox[abp]-)[\w-]{16}|AKIA[0-9A-Z]{16})"
)
_SECRET_KEY = re.compile(r"(.*_)?(token|password|secret|api_?key)", re.IGNORECASE)


def list_validation_problems(error: ValidationError, values: Mapping[str, Any], place: Place) -> list[str]:
    """Return one line for each wrong value in `values`; alternatives of one value share a line."""
    found: dict[KeyPath, tuple[str, list[str]]] = {}
    for details in error.errors():
        path = _path_of(details, values)
        opening, allowed = _describe(details, path)
        said, alternatives = found.setdefault(path, (opening, []))
        # What one of several types says in words of its own says all.
        if said == opening and allowed and allowed not in alternatives:
            alternatives.append(allowed)
    problems = []
    around = {path[:length] for path in found for length in range(len(path))}
    for path, (opening, alternatives) in found.items():
        # Where a value may be of several types, what is wrong inside it says more than that it isn't of the others.
        if path in around:
            continue
        line = opening + (f", allowed is {' or '.join(alternatives)}" if alternatives else "")
        problems.append(f"{place(path)}: {'.'.join(path) or 'recipe'}: {line}")
    return problems


def _path_of(details: Any, values: Mapping[str, Any]) -> KeyPath:
    """Return the keys that lead to a wrong value, without the names of types that pydantic puts between them."""
    full = tuple(str(part) for part in details["loc"])
    if details["type"] in ("missing", "extra_forbidden"):
        return (*_existing_prefix(values, full[:-1]), full[-1])
    return _existing_prefix(values, full)


def _existing_prefix(values: Any, path: KeyPath) -> KeyPath:
    """Return the keys of `path` that lead into `values`; what is no key there is the name of a type."""
    found = []
    for key in path:
        if isinstance(values, Mapping) and key in values:
            values = values[key]
        elif isinstance(values, list) and key.isdigit() and int(key) < len(values):
            values = values[int(key)]
        else:
            continue
        found.append(key)
    return tuple(found)


def _describe(details: Any, path: KeyPath) -> tuple[str, str]:
    """Return what was found, and what is allowed, empty where the first part says it all."""
    kind, message = details["type"], details["msg"]
    if kind == "missing":
        return "missing, and a recipe can't do without it", ""
    if kind == "extra_forbidden":
        return _describe_unknown_key(path), ""
    shown = _show(details["input"])
    if kind == "value_error":
        return f"found {shown}: {message.removeprefix('Value error, ')}", ""
    if kind == "string_type" and isinstance(details["input"], int | float):
        return f"found {shown}", "text, in quotes"
    return f"found {shown}", "a mapping of keys" if kind == "model_type" else _allowed(message)


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
    siblings = tuple(Band.model_fields) if parents[:1] == ["expect"] else sections[tuple(parents)]
    if _SECRET_KEY.fullmatch(key):
        return f"unknown key; {NO_SECRETS}"
    near = suggest(key, siblings)
    homes = [
        ".".join((*section, key)) for section, keys in sections.items() if key in keys and section != tuple(parents)
    ]
    if homes and not near:
        return f"unknown key here; it belongs at {' or '.join(homes)}"
    # The whole list would bury the one name that was meant.
    return f"unknown key{near}" if near else f"unknown key, allowed are {', '.join(siblings)}"


def list_secret_problems(values: Any, place: Place, path: KeyPath = ()) -> list[str]:
    """Return where tokens of the hub and the like stand, as keys or values; the messages don't repeat them."""
    if isinstance(values, Mapping | list):
        items = values.items() if isinstance(values, Mapping) else enumerate(values)
        return [
            problem
            for key, value in items
            for problem in (
                *list_secret_problems(str(key), place, path),
                *list_secret_problems(value, place, (*path, str(key))),
            )
        ]
    if not isinstance(values, str) or not _SECRET.search(values):
        return []
    return [f"{place(path)}: {'.'.join(path) or 'recipe'}: {NO_SECRETS}"]


def list_name_problems(values: Mapping[str, Any], place: Place) -> list[str]:
    """Return which names are wrong: task, metrics, fields of `train.extra`; they can be looked up whatever else is wrong."""
    problems = []
    task = None
    if isinstance(values.get("task"), str):
        try:
            task = get_task(values["task"])
        except RecipeError as error:
            problems += [f"{place(('task',))}: {problem}" for problem in error.problems]
    expect = values.get("expect")
    for name in expect if isinstance(expect, Mapping) else {}:
        try:
            get_metric(name)
        except RecipeError as error:
            problems += [f"{place(('expect', name))}: expect.{name}: {problem}" for problem in error.problems]
            continue
        if task is not None and name not in task.metrics:
            problems.append(
                f"{place(('expect', name))}: expect.{name}: task {task.name} is not scored by it, "
                f"its metrics are {', '.join(task.metrics)}"
            )
    evaluate = values.get("evaluate")
    threshold = evaluate.get("threshold") if isinstance(evaluate, Mapping) else None
    if isinstance(threshold, str) and threshold not in (
        allowed := [name for name in list_metrics(Answers) if METRICS[name].needs == "labels"]
    ):
        problems.append(
            f"{place(('evaluate', 'threshold'))}: evaluate.threshold: found {threshold!r}, allowed are costs or one of "
            f"{', '.join(allowed)}{suggest(threshold, allowed)}"
        )
    train = values.get("train")
    extra = train.get("extra") if isinstance(train, Mapping) else None
    return problems + list_extra_problems(extra if isinstance(extra, Mapping) else {}, place)


def list_semantic_problems(recipe: Recipe, place: Place) -> list[str]:
    """Return what a recipe of the right shape and names still says wrongly of its task."""
    found = list_objective_problems(recipe, get_task(recipe.task))
    return [f"{place(path)}: {'.'.join(path)}: {problem}" for path, problem in found]
