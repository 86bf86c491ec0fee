"""The recipes at a glance: what `finetune recipes` and recipes/README.md show.

Owns that table. Imports no torch.
"""

from dataclasses import dataclass

from finetune.metrics import get_metric
from finetune.recipe_file import list_recipes, load_recipe
from finetune.recipe_sections import ModelSettings
from finetune.task import get_task


@dataclass(frozen=True)
class RecipeRow:
    """One line of the table."""

    name: str
    purpose: str
    checkpoint: str
    metric: str
    expected: str


def describe_recipes() -> list[RecipeRow]:
    """Return a row for each recipe that can be named.

    Raises:
        RecipeError: one of them is wrong.
    """
    rows = []
    for name, path in list_recipes().items():
        recipe = load_recipe(path).recipe
        task = get_task(recipe.task)
        bands = [
            f"{get_metric(metric).title if metric != task.primary_metric else ''} {band.low:g} to {band.high:g}"
            f"{f' on {band.rows:,} rows' if band.rows else ''}".strip()
            for metric, band in recipe.expect.items()
        ]
        rows.append(
            RecipeRow(
                name,
                task.title,
                _name_start(recipe.model),
                get_metric(task.primary_metric).title,
                "; ".join(bands) or "none stated",
            )
        )
    return rows


def _name_start(settings: ModelSettings) -> str:
    """Return what a recipe starts from, in a word or two."""
    named = str(settings.checkpoint or settings.architecture)
    return f"{named}, from scratch" if settings.init == "scratch" else named


def render_recipes_markdown(rows: list[RecipeRow]) -> str:
    """Return recipes/README.md."""
    lines = [
        "# Recipes",
        "",
        "Written by `finetune recipes --markdown > recipes/README.md`. Each is one YAML file that states only what differs from",
        "the defaults (`finetune show NAME` prints all of it), and runs with `make finetune RECIPE=NAME`.",
        "",
        "| recipe | what | checkpoint | metric | expected |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| [`{row.name}`]({row.name}.yaml) | {row.purpose} | `{row.checkpoint}` | {row.metric} | {row.expected} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
