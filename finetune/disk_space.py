"""Whether a run's files will fit on the disk, asked before anything is computed.

Owns the estimate. A disk that fills up all the same, since others write to it too, ends a run with exit code 74 and what it had (see
`checkpoint_files`).
"""

import shutil
from pathlib import Path

from finetune.errors import OutputError
from finetune.recipe import Recipe

# 32-bit floats: the weights, and the two moments that Adam keeps of each (Kingma and Ba 2015).
BYTES_A_WEIGHT, BYTES_OF_MOMENTS = 4, 8
# Probabilities, texts and scores of a test row, generously.
BYTES_A_TEST_ROW = 1000
BYTES_OF_REPORT = 2**20


def refuse_full_disk(folder: Path, recipe: Recipe, parameters: int, test_rows: int, *, jobs: int) -> None:
    """Refuse a run whose files won't fit; a run of several seeds keeps a model of each, and the checkpoints of `jobs` at a time.

    Raises:
        OutputError: saying what takes the space.
    """
    checkpoints = min(jobs, len(recipe.seeds)) * count_checkpoints(recipe)
    checkpoint_bytes = parameters * (BYTES_A_WEIGHT + BYTES_OF_MOMENTS)
    models = len(recipe.seeds) if recipe.train is not None else 0
    needed = (
        checkpoints * checkpoint_bytes
        + models * parameters * BYTES_A_WEIGHT
        + len(recipe.seeds) * test_rows * BYTES_A_TEST_ROW
        + BYTES_OF_REPORT
    )
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise OutputError(
            f"{folder}: about {_megabytes(needed)} will be written ({checkpoints} checkpoints of {_megabytes(checkpoint_bytes)} at a "
            f"time), {_megabytes(free)} are free; --out names another place, train.keep_checkpoints or "
            "train.save_every: never need less"
        )


def count_checkpoints(recipe: Recipe) -> int:
    """Return how many checkpoints of a seed lie on the disk at once: those kept, a new one beside them, and the best."""
    train = recipe.train
    if train is None or (train.save_every == "never" and not train.selects_on_dev):
        return 0
    return train.keep_checkpoints + 1 + int(train.selects_on_dev)


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"
