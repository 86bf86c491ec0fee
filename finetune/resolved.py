"""The resolved recipe: every value of a recipe, written with its run and read again.

Owns that YAML file and the table of `finetune show`. Imports no torch.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from finetune.errors import RecipeError
from finetune.recipe import Recipe
from finetune.recipe_file import LoadedRecipe
from finetune.record_files import write_text
from finetune.yaml_nodes import KeyPath, parse_yaml, read_yaml_text


def flatten(values: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Go through the values of a recipe as (key path, value); an empty mapping is a value."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from flatten(value, (*path, str(key)))
    else:
        yield path, values


def render_yaml(values: dict[str, Any]) -> str:
    """Return plain data as YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    stream = io.StringIO()
    yaml.dump(values, stream)
    return stream.getvalue()


def write_resolved_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe of a run; it can be run again as it is."""
    write_text(path, render_yaml(recipe.model_dump(mode="json")))


def read_resolved_recipe(path: Path) -> Recipe:
    """Return the recipe that a run wrote.

    Raises:
        RecipeError: it is none of this program.
    """
    try:
        return Recipe.model_validate(parse_yaml(read_yaml_text(path), str(path)).values)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RecipeError([f"{path}: not a recipe of this program: {where}: {error.errors()[0]['msg']}"]) from None


def render_origins(loaded: LoadedRecipe) -> list[tuple[str, str, str]]:
    """Return (key, value, origin) of every value of a recipe."""
    lines = []
    for path, value in flatten(loaded.recipe.model_dump(mode="json")):
        places = [
            loaded.origins[path[:length]] for length in range(len(path), 0, -1) if path[:length] in loaded.origins
        ]
        is_stated = path in loaded.origins or (bool(places) and _is_below_stated_leaf(path, loaded))
        lines.append(
            (
                ".".join(path),
                value if isinstance(value, str) else json.dumps(value),
                str(places[0]) if is_stated else "default",
            )
        )
    return lines


def _is_below_stated_leaf(path: KeyPath, loaded: LoadedRecipe) -> bool:
    """Say whether a list, or a mapping that replaced a whole section, was stated above this path."""
    return any(
        path[:length] in loaded.origins
        and not any(origin[:length] == path[:length] and len(origin) > length for origin in loaded.origins)
        for length in range(1, len(path))
    )
