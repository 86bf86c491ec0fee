"""Where the rows of a recipe are: its own path, then `$FINETUNE_DATA`, then the hub's cache, then the hub.

Owns finding files. Which of their columns play which part is `layouts`. Reads no rows; downloads only what a task's source
names, at its pinned revision, and respects HF_HUB_OFFLINE.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from finetune.documents import ALL_SUFFIXES, TEXT_SUFFIX
from finetune.errors import (
    DataError,
    MissingInputError,
    PermissionDeniedError,
    SettingError,
    UnavailableError,
    suggest,
)
from finetune.hub import fetch_hub_files
from finetune.layouts import LEARNS_FROM_DOCUMENTS, build_layout
from finetune.readers import SUFFIXES
from finetune.recipe import Recipe
from finetune.recipe_sections import SplitPaths
from finetune.task import Layout, Part, Source, Task

PARTS: tuple[Part, ...] = ("train", "dev", "test")
# What a file in a folder may be called to play a part.
FILE_NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train",),
    "dev": ("dev", "validation", "valid", "val"),
    "test": ("test",),
}


@dataclass(frozen=True)
class LocatedData:
    """Files of each part, how their columns are found, and where they were found."""

    files: Mapping[Part, tuple[Path, ...]]
    layout: Layout
    origin: str
    licence: str


def locate_data(recipe: Recipe, task: Task) -> LocatedData:
    """Return where the rows of a recipe are.

    Raises:
        MissingInputError: a path of the recipe doesn't exist.
        DataError: a .txt file where labels are learnt.
        UnavailableError: neither `$FINETUNE_DATA` nor the hub has them.
    """
    source = task.source
    if recipe.data.path is not None:
        return LocatedData(
            _files_of_path(recipe, task),
            build_layout(recipe, source.layout if source else None),
            "the recipe's data.path",
            "the user's own",
        )
    if source is None:
        raise SettingError("data.path", f"missing; task {task.name} has no data of its own")
    if source.embedded:
        folder = Path(str(files("finetune"))) / "assets" / source.folder
        return LocatedData(
            _files_below(folder, source), build_layout(recipe, source.layout), "embedded in finetune", source.licence
        )
    root = os.environ.get("FINETUNE_DATA")
    if root:
        found = _files_below(Path(root) / source.folder, source)
        if all(path.exists() for paths in found.values() for path in paths):
            return LocatedData(
                found, build_layout(recipe, source.layout), f"$FINETUNE_DATA/{source.folder}", source.licence
            )
    return _locate_on_hub(recipe, task, source)


def _files_of_path(recipe: Recipe, task: Task) -> dict[Part, tuple[Path, ...]]:
    stated, is_trained = recipe.data.path, recipe.needs_train
    if isinstance(stated, SplitPaths):
        found = {part: _existing(getattr(stated, part)) for part in PARTS if getattr(stated, part) is not None}
        if is_trained and "train" not in found:
            raise SettingError("data.path.train", "missing; the recipe trains (train: null would only measure)")
        if not is_trained and not found.keys() & {"dev", "test"}:
            raise SettingError("data.path.test", "missing; the recipe only measures (train: null)")
    else:
        assert stated is not None
        path = _existing(stated)
        if path.is_dir():
            found = _files_of_folder(path, task, is_trained=is_trained)
        else:
            found: dict[Part, Path] = {"train" if is_trained else "test": path}
    if len({path.resolve() for path in found.values()}) < len(found):
        raise SettingError(
            "data.path", "the same file plays two parts, so the model would be tested on what it has seen"
        )
    for path in found.values():
        if path.suffix.lower() == TEXT_SUFFIX and task.objective not in LEARNS_FROM_DOCUMENTS:
            raise DataError(
                f"{path}: a {TEXT_SUFFIX} file holds texts alone, and task {task.name} needs more columns; "
                f"it takes {', '.join(SUFFIXES)}"
            )
    return {part: (path,) for part, path in found.items()}


def _files_of_folder(folder: Path, task: Task, *, is_trained: bool) -> dict[Part, Path]:
    suffixes = ALL_SUFFIXES if task.objective in LEARNS_FROM_DOCUMENTS else SUFFIXES
    found: dict[Part, Path] = {}
    for part, names in FILE_NAMES.items():
        matches = sorted(
            match for name in names for match in folder.glob(f"{name}.*") if match.suffix.lower() in suffixes
        )
        if len(matches) > 1:
            raise DataError(f"{folder}: {part} is there twice: {', '.join(match.name for match in matches)}")
        if matches:
            found[part] = matches[0]
    if not found.keys() & ({"train"} if is_trained else {"dev", "test"}):
        missing = "train.*" if is_trained else "test.* or dev.*"
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10]) or "nothing"
        raise MissingInputError(f"{folder}: no {missing} in this folder ({', '.join(suffixes)}); it holds {there}")
    return found


def _existing(stated: str) -> Path:
    try:
        path = Path(stated).expanduser()
        if path.exists():
            return path
        near = suggest(path.name, [entry.name for entry in path.parent.glob("*") if entry.name.isprintable()])
    except PermissionError:
        raise PermissionDeniedError(f"{stated}: no permission to look there (data.path)") from None
    except (OSError, RuntimeError) as error:  # a name too long, a home that nobody has
        near = f" ({getattr(error, 'strerror', None) or error})"
    raise MissingInputError(f"{stated}: no such file or folder (data.path){near}")


def _files_below(folder: Path, source: Source) -> dict[Part, tuple[Path, ...]]:
    return {part: tuple(folder / name for name in names) for part, names in source.files.items()}


def _locate_on_hub(recipe: Recipe, task: Task, source: Source) -> LocatedData:
    own_files = ", ".join(name for names in source.files.values() for name in names)
    ways_out = (
        f"1. set FINETUNE_DATA to a folder that holds {source.folder}/ with {own_files}; "
        "2. name your own files in the recipe: data.path with data.columns; "
        f"3. {'run once with the hub in reach, which fills its cache' if source.hub_id else 'ask the publisher for the files'}."
    )
    if source.hub_id is None or source.hub_revision is None:
        raise UnavailableError(f"The data of task {task.name} is not here, and no hub has it. Ways out: {ways_out}")
    names = [name for part in source.hub_files.values() for name in part]
    try:
        folder = fetch_hub_files(source.hub_id, source.hub_revision, names, kind="dataset")
    except UnavailableError as error:
        raise UnavailableError(f"The data of task {task.name} can't be had: {error} Ways out: {ways_out}") from None
    found: dict[Part, tuple[Path, ...]] = {
        part: tuple(folder / name for name in names) for part, names in source.hub_files.items()
    }
    layout = build_layout(recipe, source.hub_layout)
    return LocatedData(found, layout, f"hub: {source.hub_id} at {source.hub_revision[:8]}", source.licence)
