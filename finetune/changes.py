"""What has changed since a run began, when it is resumed: recipe, rows, code, machine.

Owns the comparison, `--allow-change`, and the record of what was allowed. A run whose conditions are the same goes on bit by bit.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from finetune.errors import RecipeError, UnavailableError
from finetune.machine import choose_threads, device_kind, digest_of_code, installed_versions
from finetune.prepare import SeedJob
from finetune.recipe import Recipe
from finetune.records import DataRecord
from finetune.resolved import flatten, read_resolved_recipe
from finetune.run_dir import RunDir, read_beginning, read_data_record
from finetune.run_records import Beginning

# What is told of a hash.
DIGITS = 12
# Prose, and the place of rows, which are known by their fingerprints: a run may be moved with its data.
_FREE = frozenset([("note",), ("data", "path"), *(("data", "path", part) for part in ("train", "dev", "test"))])
_SWITCHES = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


class Change(NamedTuple):
    """One thing that isn't as it was; `field` is what `--allow-change` is given."""

    field: str
    was: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.field}: was {self.was}, now {self.now}"


def describe_beginning(job: SeedJob, jobs: int, changes: Sequence[str] = ()) -> Beginning:
    """Return what a run begins with beside its recipe and rows; `jobs` seeds are trained at a time."""
    stated = job.recipe.train.threads if job.recipe.train else None
    return Beginning(
        processes=job.processes.count,
        threads=choose_threads(stated, job.processes.count * jobs),
        precision=job.precision,
        device=device_kind(),
        checkpoint=job.start.sha256,
        code=digest_of_code(),
        versions=installed_versions(),
        changes=list(changes),
    )


def find_changed_values(recipe: Recipe, run_dir: RunDir) -> list[Change]:
    """Return every value of the recipe that isn't the one its run began with; none where the run had not come to write it.

    Raises:
        RecipeError: what the run wrote is no recipe of this program.
    """
    if not run_dir.recipe.exists():
        return []
    # Through the schema, since a key that an older version didn't know had its default.
    before = dict(flatten(read_resolved_recipe(run_dir.recipe).model_dump(mode="json")))
    now = dict(flatten(recipe.model_dump(mode="json")))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key) and key not in _FREE]
    return [Change(".".join(key), before.get(key), now.get(key)) for key in keys]


def find_changes(run_dir: RunDir, recipe: Recipe, rows: DataRecord, now: Beginning) -> list[Change]:
    """Return everything that isn't as it was when the run began."""
    changes = find_changed_values(recipe, run_dir)
    if run_dir.data.exists():
        changes += _compare_rows(read_data_record(run_dir), rows)
    if (before := read_beginning(run_dir)) is not None:
        old, new = (dict(flatten(beginning.model_dump(exclude={"changes"}))) for beginning in (before, now))
        changes += [
            Change(".".join(key), _shorten(old.get(key)), _shorten(new.get(key)))
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
    return changes


def _compare_rows(before: DataRecord, now: DataRecord) -> Iterator[Change]:
    old, new = (
        {split.part: f"{split.rows} rows ({_shorten(split.fingerprint)})" for split in record.splits}
        for record in (before, now)
    )
    for part in sorted({*old, *new}):
        if old.get(part) != new.get(part):
            yield Change(f"rows.{part}", old.get(part), new.get(part))


def _shorten(value: Any) -> Any:
    return value[:DIGITS] if isinstance(value, str) and len(value) == 64 else value


def refuse_changes(changes: Sequence[Change], allowed: Sequence[str]) -> list[str]:
    """Return in words what changed and was allowed to, by its field or a section above it.

    Raises:
        RecipeError: a line for each other change.
    """
    refused = [change for change in changes if not any(f"{change.field}.".startswith(f"{name}.") for name in allowed)]
    if refused:
        raise RecipeError(
            [
                f"{change}; a run goes on as it began (--allow-change {change.field} lets it, no longer bit by bit)"
                for change in refused
            ]
        )
    return [str(change) for change in changes]


def refuse_cut_weights() -> None:
    """Refuse to resume where weights are cut over processes.

    Raises:
        UnavailableError: they are.
    """
    asked = [name for name in _SWITCHES if os.environ.get(name, "").lower() in ("true", "1")]
    if asked:
        raise UnavailableError(
            f"--resume: a run whose weights are cut over processes ({asked[0]}) can't be resumed; start a new one"
        )
