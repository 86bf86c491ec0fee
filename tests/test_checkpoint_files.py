"""Checkpoints on disk: whole or not there, whatever happens to their files."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.checkpoint_files import (
    fill_checkpoint,
    find_checkpoint,
    keep_checkpoints,
    read_manifest,
    seal_checkpoint,
    verify_checkpoint,
)
from finetune.checkpoint_writer import CheckpointWriter
from finetune.errors import DataError, StorageError


def write(folder: Path, step: int, needs: tuple[int, ...] = ()) -> Path:
    def fill(inside: Path) -> None:
        (inside / "model.safetensors").write_bytes(bytes(range(256)) * 4 + bytes([step]))
        (inside / "training.json").write_text(json.dumps({"step": step}))

    seal_checkpoint(fill_checkpoint(folder, step, fill), step, needs)
    return folder / f"checkpoint-{step}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_checkpoint_is_found_and_says_what_it_consists_of(tmp_path: Path) -> None:
    path = write(tmp_path / "below", 5)
    manifest = verify_checkpoint(path)
    assert manifest.step == 5 and manifest.files["model.safetensors"].bytes == 1025
    assert "torch" in manifest.versions and set(manifest.files) == {"model.safetensors", "training.json"}
    assert find_checkpoint(tmp_path / "below") == (path, [])
    assert find_checkpoint(tmp_path / "nowhere") == (None, [])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[700 % len(content)] ^= 1
    path.write_bytes(content)


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def put_in_place(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.rename(path.with_name("elsewhere"))
        make(path)

    return change


@pytest.mark.parametrize("name", ["model.safetensors", "training.json", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        flip_a_bit,
        cut(0),
        cut(0.5),
        put_in_place(Path.mkdir),
        put_in_place(os.mkfifo),
        put_in_place(lambda path: path.symlink_to("elsewhere")),
        put_in_place(lambda path: path.write_bytes((path.parent.parent / "checkpoint-1" / path.name).read_bytes())),
    ],
    ids=["missing", "bit", "empty", "half", "folder", "pipe", "link", "of-another-step"],
)
def test_a_damaged_checkpoint_is_passed_over_with_its_reason(tmp_path: Path, name: str, damage: Callable) -> None:
    older, newer = write(tmp_path, 1), write(tmp_path, 2)
    damage(newer / name)
    found, passed_over = find_checkpoint(tmp_path)
    assert found == older
    (line,) = passed_over
    assert line.startswith("ignored checkpoint-2: ") and ("manifest" in line or name in line)


def test_a_checkpoint_is_of_no_use_without_those_that_it_needs(tmp_path: Path) -> None:
    first, best, last = write(tmp_path, 1), write(tmp_path, 2), write(tmp_path, 3, needs=(2,))
    assert find_checkpoint(tmp_path) == (last, [])
    flip_a_bit(best / "training.json")
    found, passed_over = find_checkpoint(tmp_path)
    assert found == first
    assert passed_over[0].startswith("ignored checkpoint-3: it needs checkpoint-2, of which training.json is not")


def test_those_beyond_the_count_go_but_not_what_is_needed_and_what_training_has_left_goes_too(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 99):
        write(tmp_path, step)
    write(tmp_path, 5, needs=(2,))
    keep_checkpoints(tmp_path, newest=5, count=2)
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-4", "checkpoint-5"]


def fail_in_writing(folder: Path, error: Exception) -> None:
    def fill(inside: Path) -> None:
        (inside / "half").write_text("x")
        raise error

    fill_checkpoint(folder, 2, fill)


def test_what_fails_in_the_writing_leaves_nothing_and_touches_nothing(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(ZeroDivisionError):
        fail_in_writing(tmp_path, ZeroDivisionError())
    with pytest.raises(
        StorageError, match=r"checkpoint-2: can't be written \(.*No space.*earlier checkpoints are whole"
    ):
        fail_in_writing(tmp_path, OSError(28, "No space left on device"))
    assert names(tmp_path) == ["checkpoint-1"]


def test_what_a_killed_process_left_is_taken_away_and_a_torn_one_replaced(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-2.123").mkdir()
    (tmp_path / ".checkpoint-1.removed.123").mkdir()
    (tmp_path / "checkpoint-2").mkdir()
    write(tmp_path, 2)
    assert names(tmp_path) == ["checkpoint-2"] and find_checkpoint(tmp_path)[0] == tmp_path / "checkpoint-2"


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_a_manifest_of_any_bytes_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    folder = tmp_path_factory.mktemp("any") / "checkpoint-1"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(DataError, match="manifest"):
        read_manifest(folder)


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_manifest_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, 1)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"][name] = manifest["files"]["training.json"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="the manifest is damaged"):
        verify_checkpoint(path)


# Beside the training


def fill_with(content: bytes) -> Callable[[Path], None]:
    def fill(inside: Path) -> None:
        (inside / "model.safetensors").write_bytes(content)

    return fill


def test_a_writer_keeps_the_last_and_those_they_need(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, keep=2)
    for step in range(1, 6):
        writer.write(step, fill_with(bytes([step])), needs=[1] if step > 1 else [])
    writer.wait()
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-4", "checkpoint-5"]
    assert find_checkpoint(tmp_path) == (tmp_path / "checkpoint-5", [])


def test_what_fails_in_the_background_is_told_when_it_is_waited_for_and_once(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.write(1, fill_with(b"x"))
    writer.wait()

    def fill_and_lose_it(inside: Path) -> None:
        (inside / "model.safetensors").symlink_to("nowhere")

    writer.write(2, fill_and_lose_it)
    with pytest.raises(StorageError, match="checkpoint-2: can't be written"):
        writer.write(3, fill_with(b"y"))
    writer.wait()
    assert names(tmp_path) == ["checkpoint-1"]


def test_the_training_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A pipe, whose other end is opened late, stands for a slow disk; nobody can flush one, so that the checkpoint fails in the end."""
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.write(1, lambda inside: os.mkfifo(inside / "slow"))
    thread = writer.thread
    assert thread is not None and thread.is_alive() and not (tmp_path / "checkpoint-1").exists()
    with (next(tmp_path.glob(".checkpoint-1.*")) / "slow").open("wb"):
        thread.join()
    with pytest.raises(StorageError, match="checkpoint-1"):
        writer.wait()
