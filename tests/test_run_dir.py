"""Run folders: created once, locked by one process, read strictly."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.errors import DataError, MissingInputError, OutputError, StorageError
from finetune.machine import is_gone
from finetune.prediction_records import Prediction
from finetune.record_files import write_lines, write_text
from finetune.run_dir import RunDir, read_predictions, read_report, read_status, write_status
from finetune.run_folder import create_run_dir, default_run_path, find_unfinished_run, link_latest, unlock
from tests.report_examples import single_seed


@pytest.fixture
def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_new_folder_is_locked_until_it_is_given_back(tmp_path: Path) -> None:
    run_dir = create_run_dir(tmp_path / "a/b/run", resume=False)
    assert run_dir.lock.read_text() == f"{os.getpid()}@{socket.gethostname()}"
    unlock(run_dir)
    assert list(run_dir.path.iterdir()) == []


def test_a_folder_that_holds_something_is_only_opened_to_resume(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="isn't empty"):
        create_run_dir(tmp_path, resume=False)
    unlock(create_run_dir(tmp_path, resume=True))
    assert (tmp_path / "note.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError):
        create_run_dir(tmp_path / name, resume=False)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path, dead: int) -> None:
    (tmp_path / "run.lock").write_text(f"{dead}@{socket.gethostname()}")
    run_dir = create_run_dir(tmp_path, resume=True)
    assert run_dir.lock.read_text().startswith(f"{os.getpid()}@")


@pytest.mark.parametrize("owner", ["1@{host}", "4194305@elsewhere", "", "nonsense", "-1@{host}", "²@{host}"])
def test_a_lock_that_may_be_held_is_respected(tmp_path: Path, owner: str) -> None:
    (tmp_path / "run.lock").write_text(owner.format(host=socket.gethostname()), encoding="utf-8")
    with pytest.raises(OutputError, match=r"remove run\.lock"):
        create_run_dir(tmp_path, resume=True)
    assert (tmp_path / "run.lock").read_text(encoding="utf-8") == owner.format(host=socket.gethostname())


def test_only_a_process_of_this_machine_can_be_known_to_be_gone(dead: int) -> None:
    assert is_gone(dead, socket.gethostname())
    assert is_gone(10**30, socket.gethostname())
    assert not is_gone(os.getpid(), socket.gethostname())
    assert not is_gone(dead, "elsewhere")


def test_the_folder_of_a_refused_run_is_taken_away_with_what_was_written_for_it(tmp_path: Path) -> None:
    run_dir = create_run_dir(tmp_path / "run", resume=False)
    for path in (run_dir.recipe, run_dir.data):
        path.write_text("")
    write_status(run_dir, "failed", "no such checkpoint", 66)
    unlock(run_dir)
    assert not run_dir.path.exists()


@pytest.mark.parametrize(("code", "kept"), [(3, None), (70, None), (130, None), (74, None), (65, "events.jsonl"),
                                            (65, "seed-1/predictions.jsonl"), (65, "note.txt")])  # fmt: skip
def test_the_folder_of_a_run_that_began_or_holds_more_stays(tmp_path: Path, code: int, kept: str | None) -> None:
    run_dir = create_run_dir(tmp_path / "run", resume=False)
    if kept:
        (run_dir.path / kept).parent.mkdir(exist_ok=True)
        (run_dir.path / kept).write_text("")
    write_status(run_dir, "failed", "why", code)
    unlock(run_dir)
    assert run_dir.path.is_dir() and not run_dir.lock.exists()
    assert kept is None or (run_dir.path / kept).exists()
    assert kept is not None or run_dir.status.exists()


def test_a_folder_without_a_name_gets_one_that_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = []
    for _ in range(4):
        paths.append(default_run_path("own"))
        paths[-1].mkdir(parents=True)
    assert len(set(paths)) == 4 and all(path.parent == Path("runs/own") for path in paths)


def test_the_newest_unfinished_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_unfinished_run("own") is None
    for name, state in {"1": "failed", "2": "stopped", "3": "complete"}.items():
        run_dir = RunDir(Path("runs/own") / name)
        run_dir.path.mkdir(parents=True)
        write_status(run_dir, state, state, 0)
    Path("runs/own/4").mkdir()
    Path("runs/own/latest").symlink_to("3")
    assert find_unfinished_run("own") == Path("runs/own/2")


def test_latest_points_beside_itself_and_never_replaces_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("1", "2"):
        Path("runs/own", name).mkdir(parents=True)
        link_latest(RunDir(Path("runs/own", name)), "own")
        assert os.readlink("runs/own/latest") == name
    Path("elsewhere").mkdir()
    link_latest(RunDir(Path("elsewhere")), "own")
    assert os.readlink("runs/own/latest") == "2"
    Path("runs/other/latest").mkdir(parents=True)
    link_latest(RunDir(Path("runs/other/latest")), "other")
    assert not Path("runs/other/latest").is_symlink()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "before")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="No space left"):
        write_text(path, "after")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]


def test_a_report_that_is_not_there_says_how_the_run_stands(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such run folder"):
        read_report(RunDir(tmp_path / "nowhere"))
    with pytest.raises(MissingInputError, match="it is no run folder"):
        read_report(RunDir(tmp_path))
    write_status(RunDir(tmp_path), "failed", "the disk was full", 74)
    with pytest.raises(MissingInputError, match="the run is failed: the disk was full"):
        read_report(RunDir(tmp_path))


def test_a_record_of_another_version_or_shape_is_refused_with_the_place(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.report.write_text(json.dumps({"schema_version": 3}))
    with pytest.raises(DataError, match="schema version 3, this program reads versions 1 to 2"):
        read_report(run_dir)
    run_dir.status.write_text(json.dumps({"state": "dancing"}))
    with pytest.raises(DataError, match=r"status\.json: not a status of this program: state"):
        read_status(run_dir)
    for content in (b"", b"\xff", b"[]", b"null"):
        run_dir.status.write_bytes(content)
        with pytest.raises(DataError, match=r"status\.json"):
            read_status(run_dir)


def test_a_report_of_the_first_version_is_read_as_what_it_measured(tmp_path: Path) -> None:
    added = {"slice_tests", "calibration", "decisions", "undecided", "curves", "confused", "doubts", "near_duplicates"}
    report = json.loads(single_seed().model_dump_json(exclude=added))
    RunDir(tmp_path).report.write_text(json.dumps({**report, "schema_version": 1}, indent=1))
    found = read_report(RunDir(tmp_path))
    assert found.scores == single_seed().scores
    assert found.schema_version == 2
    assert found.calibration is None and found.slice_tests == []


def test_a_run_whose_process_is_gone_is_stopped_whatever_it_last_said(tmp_path: Path, dead: int) -> None:
    run_dir = RunDir(tmp_path)
    write_status(run_dir, "running", "training")
    status = json.loads(run_dir.status.read_text())
    found = read_status(run_dir)
    assert found is not None and found.state == "running" and found.exit_code is None
    run_dir.status.write_text(json.dumps({**status, "process_id": dead}))
    found = read_status(run_dir)
    assert found is not None and found.state == "stopped" and found.exit_code == 130 and "--resume" in found.message
    run_dir.status.write_text(json.dumps({**status, "process_id": dead, "host": "elsewhere"}))
    found = read_status(run_dir)
    assert found is not None and found.state == "running"


def test_predictions_come_back_as_written_and_a_torn_line_is_named(tmp_path: Path) -> None:
    rows = [
        Prediction(row=f"test/{n}", split="test", expected="日本", predicted="no", probabilities=[0.25, 0.75])
        for n in range(3)
    ]
    write_lines(tmp_path / "p", rows)
    assert list(read_predictions(tmp_path / "p")) == rows
    separators = [row.model_copy(update={"expected": "one\u2028two\x85three\x1cfour\nfive"}) for row in rows]
    write_lines(tmp_path / "q", separators)
    assert list(read_predictions(tmp_path / "q")) == separators
    (tmp_path / "r").write_bytes(b"\xff\n")
    for name in ("r", "."):
        with pytest.raises(DataError, match="cannot be read"):
            list(read_predictions(tmp_path / name))
    with (tmp_path / "p").open("a") as stream:
        stream.write('{"row": ')
    with pytest.raises(DataError, match="p:4: not a prediction"):
        list(read_predictions(tmp_path / "p"))
