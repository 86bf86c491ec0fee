"""Recipes on disk: found by name or path, extended, overridden, checked, with the origin of every value.

Owns the way from a YAML file and command-line overrides to a `Recipe`, and the wording of recipe errors. What the keys mean is
in `recipe`. Imports no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune.errors import MissingInputError, RecipeError, SettingError, UsageError, suggest
from finetune.recipe import Recipe
from finetune.recipe_problems import (
    list_name_problems,
    list_secret_problems,
    list_semantic_problems,
    list_validation_problems,
)
from finetune.recipe_sections import ADDRESS, FOLDER_STARTS
from finetune.text_files import show
from finetune.yaml_nodes import KeyPath, parse_yaml, read_yaml_text

COMMAND_LINE = "command line"
LONGEST_CHAIN = 20
# At once; whoever has more has mistaken the file. Nor is a longer one read.
PROBLEMS_TOLD, LONGEST_PROBLEM = 20, 1000


@dataclass(frozen=True)
class Origin:
    """Where a value was stated: a file and line, or the command line (line 0)."""

    source: str
    line: int
    folder: Path

    def __str__(self) -> str:
        """Return `file:line`, or `command line`."""
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe, its name, and where each of its values came from; what has no origin is a default."""

    name: str
    recipe: Recipe
    origins: Mapping[KeyPath, Origin] = field(default_factory=dict)
    path: Path | None = None

    def put_place(self, error: SettingError) -> RecipeError:
        """Return an error on one value with the place where the value, or the section it stands in, was stated."""
        keys = tuple(error.key.split("."))
        stated = [self.origins[keys[:length]] for length in range(len(keys), 0, -1) if keys[:length] in self.origins]
        return RecipeError([f"{stated[0]}: {problem}" for problem in error.problems]) if stated else error


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Return the recipe called `name_or_path`, with `overrides` such as "train.learning_rate=3e-5" applied.

    Raises:
        MissingInputError: no such recipe.
        UsageError: two overrides of one value.
        RecipeError: every problem of the recipe and the overrides at once.
    """
    path = find_recipe(name_or_path)
    # Its runs lie in a folder of its name, which must be one in the folder of all runs.
    if path.stem in (".", ".."):
        raise RecipeError([f"{path}: a recipe's file needs a name before .yaml"])
    problems: list[str] = []
    values, origins = _load_extended(path, [], problems)
    _apply_overrides(values, origins, overrides, problems)
    _resolve_paths(values, origins, problems)
    recipe = check_recipe(values, origins, str(path), problems)
    return LoadedRecipe(path.stem, recipe, origins, path)


def check_recipe(
    values: Mapping[str, Any], origins: Mapping[KeyPath, Origin], source: str, problems: Sequence[str] = ()
) -> Recipe:
    """Return the recipe that `values` describe; `problems` are those met before.

    Raises:
        RecipeError: every unknown key, wrong type and contradiction at once, each with its place.
    """

    def place(path: KeyPath) -> str:
        for length in range(len(path), 0, -1):
            if path[:length] in origins:
                return str(origins[path[:length]])
        return f"{source}:1"

    if secrets := list_secret_problems(values, place):
        # By themselves, since other messages repeat what they found.
        raise RecipeError(secrets)
    found = list(problems)
    recipe = None
    try:
        recipe = Recipe.model_validate(dict(values))
    except ValidationError as error:
        found += list_validation_problems(error, values, place)
    found += list_name_problems(values, place)
    if recipe is not None and not found:
        found += list_semantic_problems(recipe, place)
    if found or recipe is None:
        told = [problem[:LONGEST_PROBLEM] for problem in sorted(found, key=_line_of)[:PROBLEMS_TOLD]]
        raise RecipeError([*told, f"{source}: and more; these are the first"] if len(found) > len(told) else told)
    return recipe


def _line_of(problem: str) -> tuple[str, int]:
    source, _, rest = problem.partition(":")
    line = rest.partition(":")[0]
    return source, int(line) if line.isdigit() else 0


def recipe_folders() -> tuple[Path, ...]:
    """Return the folders that recipe names are looked up in: `./recipes`, then those shipped with the package."""
    packaged = Path(str(files("finetune"))) / "recipes"
    # An editable install has the recipes beside the package, a wheel inside it.
    return Path("recipes"), packaged if packaged.is_dir() else packaged.parent.parent / "recipes"


def list_recipes() -> dict[str, Path]:
    """Return {name: path} of every recipe that can be named, the user's own before those of the package."""
    found: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find_recipe(name_or_path: str | Path) -> Path:
    """Return the file of a recipe given by name or by path.

    Raises:
        MissingInputError: neither a file nor a known name.
    """
    text = str(name_or_path)
    if text.endswith((".yaml", ".yml")) or "/" in text:
        return Path(text)
    known = list_recipes()
    if text not in known:
        raise MissingInputError(
            f"no recipe is called {text!r}, known are {', '.join(known) or 'none'}{suggest(text, list(known))}"
        )
    return known[text]


def _load_extended(path: Path, chain: list[Path], problems: list[str]) -> tuple[dict[str, Any], dict[KeyPath, Origin]]:
    """Return the values of `path` merged over those of the recipes it extends."""
    text = read_yaml_text(path)
    if path.resolve() in chain:
        raise RecipeError([f"{path}: extends itself: {' -> '.join(p.name for p in [*chain, path])}"])
    if len(chain) == LONGEST_CHAIN:
        raise RecipeError(
            [f"{path}: the last of {LONGEST_CHAIN + 1} recipes that extend one another, which none needs"]
        )
    placed = parse_yaml(text, str(path))
    if placed.values is None:
        raise RecipeError(
            [
                f"{path}: the recipe is empty; the least it needs is\n  task: cola\n"
                "  model: {checkpoint: google-bert/bert-base-uncased}"
            ]
        )
    if not isinstance(placed.values, dict):
        raise RecipeError([f"{path}:1: a recipe is a mapping of keys to values, found {type(placed.values).__name__}"])
    problems.extend(placed.problems)
    values = placed.values
    origins = {key: Origin(str(path), line, path.parent) for key, line in placed.lines.items() if key}
    parent = values.pop("extends", None)
    if parent is None:
        plain: dict[str, Any] = {}
        _merge(plain, {}, values, origins, ())
        return plain, origins
    place = origins.pop(("extends",))
    if not isinstance(parent, str):
        raise RecipeError([f"{place}: extends: found {parent!r}, the path of another recipe is expected"])
    beside = path.parent / parent
    # A shipped recipe can be extended by its name from anywhere.
    if "/" not in parent and Path(parent).stem in list_recipes() and not beside.exists():
        beside = list_recipes()[Path(parent).stem]
    try:
        base, base_origins = _load_extended(beside, [*chain, path.resolve()], problems)
    except MissingInputError:
        known = [other.name for other in path.parent.glob("*.yaml")]
        raise RecipeError(
            [f"{place}: extends: no recipe file '{show(parent)}' beside it{suggest(parent, known)}"]
        ) from None
    _merge(base, base_origins, values, origins, ())
    return base, base_origins


def _merge(
    base: dict[str, Any],
    base_origins: dict[KeyPath, Origin],
    over: Mapping[str, Any],
    origins: Mapping[KeyPath, Origin],
    path: KeyPath,
) -> None:
    """Merge `over` into `base`: mappings deeply, lists and scalars replaced, null resets to the default."""
    for key, value in over.items():
        here = (*path, key)
        if isinstance(value, dict):
            base_origins[here] = origins[here]
            if not isinstance(base.get(key), dict):
                base[key] = {}
            _merge(base[key], base_origins, value, origins, here)
            continue
        if here in base_origins:
            for known in [known for known in base_origins if known[: len(here)] == here]:
                del base_origins[known]
        base_origins |= {below: origins[below] for below in _list_paths(value, here)}
        # `train: null` means no training; elsewhere null means the default.
        if value is None and here != ("train",):
            base.pop(key, None)
        else:
            base[key] = value


def _list_paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """Go through the key paths of a value and of all in it."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inside:
        yield from _list_paths(below, (*path, str(key)))


def _apply_overrides(
    values: dict[str, Any], origins: dict[KeyPath, Origin], overrides: Sequence[str], problems: list[str]
) -> None:
    names = [override.partition("=")[0].strip() for override in overrides]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{show(name)}: given {names.count(name)} times; which value is meant?")
    for override in overrides:
        dotted, equals, text = override.partition("=")
        keys = tuple(dotted.strip().split("."))
        if not equals or not all(keys):
            problems.append(
                f"{COMMAND_LINE}: '{show(override)}': an override is written key=value, such as train.epochs=2"
            )
            continue
        try:
            placed = parse_yaml(text, f"{COMMAND_LINE}: {show(dotted)}")
        except RecipeError as error:
            problems.extend(error.problems)
            continue
        if not text.strip():
            problems.append(f"{COMMAND_LINE}: {show(dotted)}: no value; null resets it to the default")
            continue
        problems.extend(placed.problems)
        nested: Any = placed.values
        for key in reversed(keys):
            nested = {key: nested}
        origin = Origin(COMMAND_LINE, 0, Path())
        below = {keys + key: origin for key in placed.lines}
        _merge(values, origins, nested, {keys[: n + 1]: origin for n in range(len(keys))} | below, ())


def _resolve_paths(values: dict[str, Any], origins: Mapping[KeyPath, Origin], problems: list[str]) -> None:
    """Make the paths of a recipe absolute, so that the resolved recipe means the same from anywhere."""
    for path in (
        ("data", "path"),
        ("data", "path", "train"),
        ("data", "path", "dev"),
        ("data", "path", "test"),
        ("model", "checkpoint"),
        ("model", "tokenizer"),
    ):
        *sections, key = path
        holder: Any = values
        for section in sections:
            holder = holder.get(section, {}) if isinstance(holder, dict) else {}
        stated = holder.get(key) if isinstance(holder, dict) else None
        if not isinstance(stated, str) or path not in origins:
            continue
        if ADDRESS.match(stated):
            continue
        # A hub id is no path, and an earlier run is named from where the command is given.
        if sections == ["model"] and (not stated.startswith(FOLDER_STARTS) or stated.startswith("runs/")):
            continue
        absolute = str((origins[path].folder / Path(stated).expanduser()).absolute())
        try:
            absolute.encode()
        except UnicodeEncodeError:
            problems.append(
                f"{origins[path]}: {'.'.join(path)}: {show(absolute, 200)}: this path is not UTF-8, so that no report could name it"
            )
        holder[key] = absolute
