"""Disks that are too small: refused before the run, and survived where they fill up while it goes on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.checkpoint_files import find_checkpoint
from finetune.disk_space import count_checkpoints, refuse_full_disk
from finetune.errors import OutputError
from finetune.recipe import Recipe
from finetune.run_dir import RunDir
from tests.cli_calls import call, write_recipe

COURSE = ["train.max_steps=12", "train.save_every=4", "train.keep_checkpoints=1"]
MEGABYTES = 4


def recipe(**train: Any) -> Recipe:
    return Recipe.model_validate({"task": "cola", "model": {"checkpoint": "./tiny"}, "train": train})


def test_as_many_checkpoints_are_counted_as_lie_there_at_once() -> None:
    assert count_checkpoints(recipe(keep_checkpoints=1)) == 2
    assert count_checkpoints(recipe(keep_checkpoints=3)) == 4
    assert count_checkpoints(recipe(keep_checkpoints=2, keep_best=True)) == 4
    assert count_checkpoints(recipe(save_every="never")) == 0
    assert (
        count_checkpoints(Recipe.model_validate({"task": "blimp", "model": {"checkpoint": "./t"}, "train": None})) == 0
    )


def test_a_run_that_cannot_fit_is_refused_with_what_takes_the_space(tmp_path: Path) -> None:
    out = tmp_path / "not" / "there" / "yet"
    refuse_full_disk(out, recipe(), 1000, 10, jobs=1)
    with pytest.raises(
        OutputError, match=r"[\d,]+ MB will be written \(2 checkpoints of [\d,]+ MB at a time\), [\d,]+ MB are free"
    ):
        refuse_full_disk(out, recipe(keep_checkpoints=1), 10**15, 10, jobs=1)
    assert not (tmp_path / "not").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is a disk of its own, of few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("SKIPPED: no small disk can be mounted here, so none was filled")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Ballast:
    """Fills a disk to the brim when a file of some name is opened."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path, self.name, self.is_due = folder / "ballast", name, True
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_due or event != "open" or self.name not in str(arguments[0]):
            return
        self.is_due = False
        with self.path.open("wb", buffering=0) as stream:
            try:
                while stream.write(bytes(2**12)):
                    pass
            except OSError:
                return


def test_a_disk_that_fills_in_the_middle_of_a_save_costs_only_that_save(
    tiny_bert: Path, tmp_path: Path, small_disk: Path
) -> None:
    source = write_recipe(tmp_path / "r.yaml", tiny_bert)
    out = small_disk / "run"
    ballast = Ballast(small_disk, ".checkpoint-8.")
    command = ["run", str(source), *COURSE, "--out", str(out)]
    stopped = call(*command)
    assert not ballast.is_due, "the run never came there"
    assert stopped.returncode == 74 and stopped.stderr.count("\n") == 1, stopped.stderr
    assert "No space left" in stopped.stderr and "0 MB free" in stopped.stderr, stopped.stderr
    newest, passed_over = find_checkpoint(RunDir(out).checkpoints)
    assert newest is not None and newest.name == "checkpoint-4" and not passed_over
    assert [path.name for path in RunDir(out).checkpoints.iterdir()] == ["checkpoint-4"], "nothing half-written is left"
    ballast.path.unlink()
    done = call(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert call("run", str(source), *COURSE, "--out", str(tmp_path / "whole")).returncode == 0
    for name in ("predictions.jsonl", "model/model.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_disk_too_small_for_the_run_is_73_and_stays_as_it_was(
    tiny_bert: Path, tmp_path: Path, small_disk: Path
) -> None:
    source = write_recipe(tmp_path / "r.yaml", tiny_bert)
    refused = call("run", str(source), *COURSE[:2], "train.keep_checkpoints=90", "--out", str(small_disk / "run"))
    assert refused.returncode == 73 and "91 checkpoints" in refused.stderr, refused.stderr
    assert not list(small_disk.iterdir())
