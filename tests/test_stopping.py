"""Signals: in whatever a run is doing, it stops with what it has, says so with its exit code, and goes on as if nothing had been."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finetune.checkpoint_files import find_checkpoint
from finetune.errors import PreemptedError, StoppedError, StopRun, TerminatedError
from finetune.run_dir import RunDir, read_status, write_status
from finetune.stopping import SIGNALS, Request, Signals, heed_signals, pass_signals_on, wait_for_step
from tests.cli_calls import ROOT, call, start, wait_until, write_recipe

COURSE = ["train.max_steps=12", "train.save_every=5", "train.learning_rate=1.0e-3"]


@dataclass
class Trap:
    """Sends this process a signal when the `left`-th file of a name is opened, as Python's own audit events tell."""

    name: str = ""
    number: int = 0
    left: int = 0

    def set(self, name: str, number: int, left: int = 1) -> None:
        self.name, self.number, self.left = name, number, left

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.left and event == "open" and self.name in str(arguments[0]):
            self.left -= 1
            if not self.left:
                signal.raise_signal(self.number)


TRAP = Trap()
# For good: a hook can't be taken back, so it does nothing unless the trap is set.
sys.addaudithook(TRAP.hear)


@pytest.fixture
def trap() -> Iterator[Trap]:
    yield TRAP
    TRAP.left = 0


@pytest.fixture(scope="module")
def home(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe, its rows, and a run of it that nobody stopped."""
    folder = tmp_path_factory.mktemp("home")
    write_recipe(folder / "r.yaml", tiny_bert)
    assert call("run", str(folder / "r.yaml"), *COURSE, "--out", str(folder / "whole")).returncode == 0
    return folder


def gist(run: Path) -> list[Any]:
    """Return what has to be the same to the bit."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [
        [{name: value for name, value in event.items() if name != "seconds"} for event in events],
        (run / "model/model.safetensors").read_bytes(),
        (run / "predictions.jsonl").read_bytes(),
    ]


# What a signal means


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [(signal.SIGTERM, PreemptedError, 75), (signal.SIGUSR1, PreemptedError, 75), (signal.SIGINT, StoppedError, 130)],
)
def test_a_signal_stops_at_once_where_there_is_no_step_to_wait_for(number: int, kind: type, code: int) -> None:
    with heed_signals(), pytest.raises(StopRun) as raised:
        signal.raise_signal(number)
    assert type(raised.value.error) is kind and raised.value.error.exit_code == code
    assert "--resume=auto" in str(raised.value)


def test_while_steps_are_trained_the_first_signal_waits_and_the_second_does_not() -> None:
    for number, kind in ((signal.SIGTERM, TerminatedError), (signal.SIGINT, StoppedError)):
        with heed_signals(), wait_for_step():
            signal.raise_signal(number)
            assert SIGNALS.take() >= Request.STOP and SIGNALS.take() >= Request.STOP
            with pytest.raises(StopRun) as raised:
                signal.raise_signal(number)
            SIGNALS.request = Request.NOTHING
        assert type(raised.value.error) is kind and "second" in str(raised.value)


def test_a_signal_after_the_last_look_still_stops_the_run() -> None:
    with heed_signals(), pytest.raises(StopRun) as raised, wait_for_step():
        signal.raise_signal(signal.SIGUSR1)
    assert raised.value.error.exit_code == 75 and "SIGUSR1" in str(raised.value)


def test_what_was_asked_of_one_run_is_not_asked_of_the_next() -> None:
    with pytest.raises(StopRun), heed_signals():
        signal.raise_signal(signal.SIGTERM)
    assert SIGNALS.request is Request.NOTHING and SIGNALS.name == ""


def test_to_save_is_asked_once_and_means_nothing_where_there_is_nothing_to_save() -> None:
    with heed_signals():
        signal.raise_signal(signal.SIGUSR2)
        assert SIGNALS.request is Request.NOTHING
        with wait_for_step():
            signal.raise_signal(signal.SIGUSR2)
            assert SIGNALS.take() is Request.SAVE and SIGNALS.take() is Request.NOTHING


def test_a_stop_outweighs_a_save_whatever_comes_first() -> None:
    for order in ((signal.SIGTERM, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGTERM)):
        signals = Signals()
        signals.waits_for_step = True
        for number in order:
            signals.receive(number)
        assert signals.take() is Request.STOP and signals.name == "SIGTERM"


def test_a_process_with_others_has_them_stop_first() -> None:
    told: list[str] = []
    with heed_signals(), pass_signals_on(lambda: told.append("stop")):
        signal.raise_signal(signal.SIGTERM)
        assert told == ["stop"] and SIGNALS.request is Request.STOP


def test_handlers_are_put_back_and_other_threads_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)]
    with heed_signals():
        assert signal.getsignal(signal.SIGTERM) == SIGNALS.receive
    failed: list[BaseException] = []

    def use_elsewhere() -> None:
        try:
            with heed_signals():
                assert signal.getsignal(signal.SIGTERM) == before[0]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=use_elsewhere)
    thread.start()
    thread.join()
    assert not failed
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)]
    assert after == before


# Runs


@pytest.mark.parametrize(
    ("name", "left", "number", "saved"),
    [
        ("rows.csv", 1, signal.SIGTERM, None),
        ("tokenizer.json", 1, signal.SIGTERM, None),
        # The log is opened once to begin with, then when step 1 and step 2 are done.
        ("events.jsonl", 3, signal.SIGUSR1, 3),
        ("events.jsonl", 3, signal.SIGINT, 3),
        # While step 5 is saved on its own account, so that it is saved at the end of the next step too.
        ("checkpoints/.checkpoint-5", 1, signal.SIGTERM, 6),
        (".predictions.jsonl.", 1, signal.SIGTERM, 12),
        (".report.json.", 1, signal.SIGTERM, None),
    ],
)
def test_a_run_told_to_stop_keeps_what_it_has_and_goes_on_to_the_same_bits(
    home: Path, tmp_path: Path, trap: Trap, name: str, left: int, number: int, saved: int | None
) -> None:
    out = tmp_path / "run"
    command = ["run", str(home / "r.yaml"), *COURSE, "--out", str(out), "--resume=auto"]
    trap.set(name, number, left)
    stopped = call(*command)
    code = 130 if number == signal.SIGINT else 75
    assert not trap.left, "the run never came there"
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stderr.count("\n") == 1 and "--resume=auto" in stopped.stderr and stopped.stdout == ""
    if saved is not None:
        newest, passed_over = find_checkpoint(RunDir(out).checkpoints)
        assert newest is not None and newest.name == f"checkpoint-{saved}" and not passed_over
    if out.exists():
        status = read_status(RunDir(out))
        assert status is not None and (status.state, status.exit_code) == ("stopped", code)
        assert not RunDir(out).lock.exists()
    done = call(*command)
    assert done.returncode == 0, done.stderr
    assert gist(out) == gist(home / "whole")


def test_sigusr2_saves_the_step_and_the_run_goes_on(home: Path, tmp_path: Path, trap: Trap) -> None:
    out = tmp_path / "run"
    trap.set("events.jsonl", signal.SIGUSR2, 4)
    seen: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[1]) == str(out / "checkpoints/checkpoint-4"):
            seen.append(str(arguments[1]))

    sys.addaudithook(watch)
    done = call("run", str(home / "r.yaml"), *COURSE, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert len(seen) == 1
    assert gist(out) == gist(home / "whole")


def test_a_run_of_several_seeds_at_a_time_has_each_save_the_step_it_is_at(home: Path) -> None:
    seeds = ["seeds=3", "train.max_steps=60", "train.save_every=50", "train.threads=1"]
    process = start(home, "run", "r.yaml", *seeds, "--jobs", "2", "--out", "seeds")
    logs = [home / f"seeds/seed-{seed}/events.jsonl" for seed in (1, 2)]
    wait_until(lambda: all(log.exists() and log.read_text().count("\n") > 1 for log in logs), process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 75 and stdout == "" and stderr.count("\n") == 1, stderr
    for seed, log in zip((1, 2), logs, strict=True):
        newest, _ = find_checkpoint(RunDir(home / "seeds").seed(seed).checkpoints)
        assert newest is not None and newest.name == f"checkpoint-{log.read_text().count(chr(10))}"
    assert not (home / "seeds/seed-3").exists()


# Several processes


def steps_of(run: Path) -> int:
    log = run / "events.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


def children_of(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.processes
@pytest.mark.parametrize("asked", ["the launcher", "one process alone"])
def test_processes_stop_together_after_the_same_step(home: Path, tmp_path: Path, asked: str) -> None:
    course = ["train.max_steps=80", "train.save_every=70"]
    command = ["run", "r.yaml", *course, "--processes", "2", "--out", str(tmp_path / "run"), "--resume=auto"]
    process = start(home, *command)
    wait_until(lambda: steps_of(tmp_path / "run") > 1, process)
    if asked == "one process alone":
        # Not the first: what it is told has to reach the one that writes.
        os.kill(children_of(process.pid)[1], signal.SIGUSR1)
    else:
        process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 75 and stdout == "", stderr
    assert "Traceback" not in stderr and stderr.count("\n") == 1, stderr
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and (status.state, status.exit_code) == ("stopped", 75)
    newest, passed_over = find_checkpoint(RunDir(tmp_path / "run").checkpoints)
    assert newest is not None and not passed_over
    assert steps_of(tmp_path / "run") == int(newest.name.partition("-")[2]) < 80


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has gone")
def test_workers_whose_launcher_was_killed_save_and_end(home: Path, tmp_path: Path) -> None:
    process = start(home, "run", "r.yaml", "train.max_steps=5000", "--processes", "2", "--out", str(tmp_path / "run"))
    wait_until(lambda: steps_of(tmp_path / "run") > 1, process)
    workers = children_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "the workers outlived their launcher"
        time.sleep(0.1)
    status = read_status(RunDir(tmp_path / "run"))
    assert status is not None and status.exit_code == 75 and find_checkpoint(RunDir(tmp_path / "run").checkpoints)[0]


def is_alive(process: int) -> bool:
    """Say whether a process still runs; one that nobody has asked for its exit code doesn't."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_status_believes_the_process_that_knows_the_cause(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    write_status(run, "running", "training")
    write_status(run, "failed", "the other process has gone", 70)
    write_status(run, "failed", "the loss is not finite at step 3", 3, rank=1)
    write_status(run, "failed", "another has gone", 70, rank=2)
    status = read_status(run)
    assert status is not None and status.exit_code == 3 and "step 3" in status.message
    said = subprocess.run(
        [sys.executable, "-m", "finetune", "status", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 3 and "step 3" in said.stdout
    write_status(run, "failed", "disk full", 74)
    status = read_status(run)
    assert status is not None and status.exit_code == 74, "the first process knew itself"
    write_status(run, "running", "training")
    status = read_status(run)
    assert status is not None and status.host == socket.gethostname() and not run.other_statuses()


def test_callable_context_serves_one_run_after_the_other() -> None:
    @heed_signals()
    def run() -> Callable:
        return signal.getsignal(signal.SIGTERM)  # type: ignore[return-value]

    assert run() == SIGNALS.receive and run() == SIGNALS.receive and signal.getsignal(signal.SIGTERM) != SIGNALS.receive
