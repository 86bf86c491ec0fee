"""Several seeds at a time: the same results as one after the other, errors that come back, workers that never stay behind."""

import json
import multiprocessing
import os
import pickle
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finetune.data import load_data
from finetune.errors import DataError, FinetuneError, RecipeError, ResourceError, SettingError, as_finetune_error
from finetune.prepare import SeedJob, prepare_job
from finetune.processes import Processes
from finetune.recipe_file import load_recipe
from finetune.run_dir import RunDir
from finetune.seed_jobs import _can_travel, _try_to_fit, fit_seeds
from finetune.task import get_task
from tests.cli_calls import ROOT, bytes_below, call, start, wait_until, write_recipe

pytestmark = pytest.mark.processes


def all_errors() -> list[type[FinetuneError]]:
    def below(kind: type[FinetuneError]) -> list[type[FinetuneError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    return below(FinetuneError)


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_is_itself_again_in_another_process(kind: type[FinetuneError]) -> None:
    made = {RecipeError: lambda: RecipeError(["a: b", "c: d"]), SettingError: lambda: SettingError("train.epochs", "0")}
    error = made.get(kind, lambda: kind("what went wrong"))()
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind
    assert (str(found), vars(found), found.exit_code) == (str(error), vars(error), kind.exit_code)
    assert str(found)


@pytest.fixture
def prepare(work: Path, tiny_bert: Path) -> Callable[..., SeedJob]:
    """Return a function that gives the job of a small recipe with overrides."""
    write_recipe(work / "r.yaml", tiny_bert)

    def call(*overrides: str) -> SeedJob:
        loaded = load_recipe("r.yaml", ["train.threads=1", *overrides])
        task = get_task(loaded.recipe.task)
        return prepare_job(loaded, task, load_data(loaded.recipe, task), Processes(0, 1))

    return call


def seed_folders(name: str) -> Callable[[int], RunDir]:
    return lambda seed: RunDir(Path(name)).seed(seed)


def test_two_seeds_at_a_time_give_what_one_after_the_other_gives(prepare: Callable[..., SeedJob]) -> None:
    job, said = prepare(), []
    alone = fit_seeds(job, [3, 1, 2], seed_folders("alone"), resume=False, jobs=1, tell=said.append)
    assert said == [], "seeds one after the other have a progress bar"
    together = fit_seeds(job, [3, 1, 2], seed_folders("together"), resume=False, jobs=2, tell=said.append)
    assert [result.seed for result in together] == [3, 1, 2]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.answers.probabilities, one.answers.probabilities)
        assert other.scores == one.scores
        assert other.measurement.final_loss == one.measurement.final_loss
        assert [point.loss for point in other.history] == [point.loss for point in one.history]
    for seed in (1, 2, 3):
        first, second = (seed_folders(name)(seed) for name in ("alone", "together"))
        assert second.predictions.read_bytes() == first.predictions.read_bytes()
        assert (second.model / "model.safetensors").read_bytes() == (first.model / "model.safetensors").read_bytes()
    assert len({tuple(result.answers.probabilities[:, 0]) for result in together}) == 3
    assert sorted(line.partition(":")[0] for line in said) == ["seed 1", "seed 2", "seed 3"]
    assert all(re.fullmatch(r"seed \d: Macro F1 \d\.\d{3}, \d+\.\d s", line) for line in said), said
    assert not multiprocessing.active_children()


def test_more_jobs_than_seeds_are_as_many_as_there_are_seeds(prepare: Callable[..., SeedJob]) -> None:
    said: list[str] = []
    found = fit_seeds(prepare("train.max_steps=1"), [1], seed_folders("run"), resume=False, jobs=8, tell=said.append)
    assert len(found) == 1 and said == [], "a single seed needs no worker"


def damage(run_dir: RunDir) -> None:
    """Leave a seed that says it is finished, in a file that is no record."""
    run_dir.path.mkdir(parents=True)
    run_dir.predictions.write_text("")
    run_dir.measurement.write_text("[]")


def test_a_failure_keeps_further_seeds_from_beginning_and_those_in_progress_are_finished(
    prepare: Callable[..., SeedJob],
) -> None:
    folder_of, said = seed_folders("run"), []
    damage(folder_of(1))
    with pytest.raises(DataError, match=r"training\.json: not a measurement"):
        fit_seeds(prepare(), range(1, 13), folder_of, resume=True, jobs=2, tell=said.append)
    # Which seeds had begun when the damaged one was looked at is for the machine to say: whoever had is finished, nobody comes after.
    failed = next(place for place, line in enumerate(said) if line.startswith("seed 1: failed ("))
    before, after = (
        re.findall(r"^seed (\d): Macro F1", "\n".join(part), re.M) for part in (said[:failed], said[failed:])
    )
    assert re.findall(r"seed (\d) will be finished first", said[failed]) == after and len(after) == 1
    assert {seed for seed in range(2, 13) if folder_of(seed).path.exists()} == {int(seed) for seed in (*before, *after)}
    assert len(said) == len(before) + 1 + len(after)
    written = folder_of(2).measurement.stat().st_mtime_ns
    folder_of(1).measurement.unlink()
    assert len(fit_seeds(prepare(), [1, 2, 3], folder_of, resume=True, jobs=1)) == 3
    assert folder_of(2).measurement.stat().st_mtime_ns == written, "what was finished is not done again"


def test_an_error_that_is_not_ours_comes_back_as_it_is(prepare: Callable[..., SeedJob]) -> None:
    Path("file").write_text("no folder")
    found = pickle.loads(pickle.dumps(_try_to_fit(prepare(), 1, RunDir(Path("file/seed-1")), resume=False)))
    assert type(found) is NotADirectoryError
    assert "fit_seed" in found.__notes__[0], "the traceback of the worker comes with it"


class TwoWordsError(Exception):
    """As libraries write them: made of two arguments, of which it keeps one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_only_errors_that_can_be_made_again_travel_as_they_are() -> None:
    errors = [KeyError("a"), OSError(28, "full", "x"), UnicodeDecodeError("utf-8", b"a", 0, 1, "bad"), DataError("a"),
              json.JSONDecodeError("bad", "doc", 1), SettingError("key", "wrong"), TwoWordsError("a", "b")]  # fmt: skip
    for error in errors:
        try:
            comes_through = type(pickle.loads(pickle.dumps(error))) is type(error)
        except TypeError:
            comes_through = False
        assert _can_travel(error) == comes_through == (not isinstance(error, TwoWordsError)), error


def test_a_worker_that_is_killed_is_71(prepare: Callable[..., SeedJob]) -> None:
    folder_of = seed_folders("run")

    def kill_one() -> None:
        while not folder_of(1).events.exists():
            time.sleep(0.01)
        victim = multiprocessing.active_children()[0]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(ResourceError, match="ended by signal 9; signal 9 mostly means that memory ran out") as caught:
        fit_seeds(prepare("train.max_steps=5000"), [1, 2], folder_of, resume=False, jobs=2)
    killer.join()
    assert as_finetune_error(caught.value).exit_code == 71 and "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


# The command


LONG = ("train.max_steps=150", "train.save_every=5", "train.threads=1", "train.learning_rate=1.0e-4", "seeds=[1,2,3]")


@pytest.fixture
def recipe(work: Path, tiny_bert: Path) -> Path:
    """Return a small recipe in the working directory."""
    return write_recipe(work / "r.yaml", tiny_bert)


def is_alive(process_id: int) -> bool:
    """Say whether a process runs; one that has ended and is not yet buried does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def workers_of(process_id: int) -> list[int]:
    """Return the living worker processes below a process."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process_id and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (OSError, ValueError, IndexError):
            continue
    return found


def wait_for_end(process_ids: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(is_alive(process_id) for process_id in process_ids):
        assert time.monotonic() < end, "a worker stays behind"
        time.sleep(0.02)


def test_a_run_killed_in_its_second_seed_goes_on_there_and_ends_as_an_uninterrupted_one(recipe: Path) -> None:
    folder_of = seed_folders("killed")
    process = start(recipe.parent, "run", "r.yaml", *LONG, "--out", "killed")
    wait_until(lambda: list(folder_of(2).checkpoints.glob("checkpoint-*/manifest.json")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert folder_of(1).measurement.exists() and not folder_of(2).measurement.exists()
    before = bytes_below(folder_of(1).path)
    done = call("run", "r.yaml", *LONG, "--out", "killed", "--resume", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert bytes_below(folder_of(1).path) == before
    assert "resumed from checkpoint-" in folder_of(2).measurement.read_text()
    assert re.findall(r"^seed \d: Macro F1 [^\n]+ s$", done.stdout, flags=re.MULTILINE)
    assert call("run", "r.yaml", *LONG, "--out", "whole").returncode == 0
    for path in ("predictions.jsonl", *(f"seed-{seed}/predictions.jsonl" for seed in (1, 2, 3))):
        assert Path("killed", path).read_bytes() == Path("whole", path).read_bytes(), path


def test_ctrl_c_ends_the_workers_quietly_and_at_once(recipe: Path) -> None:
    arguments = ("run", "r.yaml", "train.max_steps=5000", "seeds=[1,2,3]", "--jobs", "2", "--out", "stopped")
    process = start(recipe.parent, *arguments)
    wait_until(lambda: seed_folders("stopped")(2).events.exists(), process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, signal.SIGINT)
    time.sleep(0.5)
    assert all(is_alive(worker) for worker in workers), "what Ctrl-C means is for the command to decide"
    # As a terminal does it: to the command and to its workers.
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stdout == ""
    assert "--resume" in stderr and stderr.count("\n") == 1, stderr
    assert time.monotonic() - began < 10
    wait_for_end(workers, 1)
    assert json.loads(Path("stopped/status.json").read_text())["state"] == "stopped"
    assert not seed_folders("stopped")(3).path.exists() and not Path("stopped/run.lock").exists()


def test_no_worker_outlives_a_killed_command(recipe: Path) -> None:
    arguments = ("run", "r.yaml", "train.max_steps=5000", "seeds=2", "--jobs", "2", "--out", "killed")
    process = start(recipe.parent, *arguments)
    wait_until(lambda: seed_folders("killed")(1).events.exists(), process)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for_end(workers, 10)
    process.communicate()


def test_workers_run_no_script_again_and_draw_no_bars_on_a_terminal(recipe: Path) -> None:
    # No `if __name__ == "__main__"`: a worker that imported it would start workers of its own.
    Path("script.py").write_text(
        "from finetune import load_recipe, run_recipe\n"
        "print('once')\n"
        "run = run_recipe(load_recipe('r.yaml', ['seeds=2', 'train.threads=1']), 'run', jobs=2)\n"
        "print([seed.seed for seed in run.report.seeds])\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "script.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=False,
    )
    os.write(theirs, b"|end")
    assert os.read(ours, 65536) == b"|end", "nothing is said on the terminal"
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0 and done.stdout == "once\n[1, 2]\n"


@pytest.mark.parametrize(
    ("options", "saying"),
    [
        (["--jobs", "0"], "--jobs: found 0, allowed is 1 to 64"),
        (["--jobs", "65"], "--jobs: found 65, allowed is 1 to 64"),
        (["--jobs", "2", "--processes", "2"], "choose one"),
        (["--jobs", "two"], "valid integer"),
    ],
)
def test_a_number_of_jobs_that_makes_no_sense_is_2(recipe: Path, options: list[str], saying: str) -> None:
    done = call("run", "r.yaml", "seeds=2", *options)
    assert done.returncode == 2 and saying in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not Path("runs").exists()


def test_jobs_within_a_launched_group_of_processes_are_refused(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = call("run", "r.yaml", "seeds=2", "--jobs", "2")
    assert done.returncode == 2 and "found 2 with 2 processes a seed" in done.stderr
