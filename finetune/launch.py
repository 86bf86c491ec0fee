"""Several processes of a run on this machine.

Owns `finetune run --processes N`: the workers, what users see of them, their exit code, the signals that are passed on to them. What
the processes do together is `processes`. Any launcher that sets RANK and WORLD_SIZE works too (torchrun); this one keeps the run's exit
code, and shows an error once instead of once a process. Imports no torch.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

from finetune.errors import FinetuneError, ResourceError, UsageError
from finetune.machine import choose_threads, usable_cores
from finetune.stopping import MEANINGS

MAXIMUM_PROCESSES = 64
# What the others get to end by themselves once one has ended.
SECONDS_OF_GRACE = 20.0


@dataclass
class Worker:
    """A process of the run; the first one shares our terminal, the others write to a file."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes] | None


def run_in_processes(count: int, arguments: Sequence[str], command: str) -> int:
    """Run `finetune` with `arguments` in `count` processes; return the exit code of the run, whose record names `command`.

    Raises:
        UsageError: a count that makes no sense.
        ResourceError: a process could not be started, or was killed from outside.
    """
    if not 1 <= count <= MAXIMUM_PROCESSES:
        raise UsageError(f"--processes: found {count}, allowed is 1 to {MAXIMUM_PROCESSES}")
    with ExitStack() as files:
        workers: list[Worker] = []
        received: list[int] = []
        previous = {
            number: signal.signal(number, lambda found, _: received.append(found))
            for number in (*MEANINGS, signal.SIGHUP)
        }
        try:
            for worker_environment in _environments(count, command):
                errors = files.enter_context(tempfile.TemporaryFile()) if workers else None
                workers.append(_start(arguments, worker_environment, errors))
            first_failed = _wait(workers, received)
        except OSError as error:
            raise ResourceError(
                f"{count} processes could not be started on {usable_cores()} cores ({error.strerror})"
            ) from None
        finally:
            for worker in workers:
                worker.process.kill()
                worker.process.wait()
            for number, handler in previous.items():
                signal.signal(number, handler)
        stops = [number for number in received if number != signal.SIGUSR2]
        # Workers that were stopped say themselves with which code; those that had to be killed can't.
        is_killed = workers[0].process.returncode < 0
        return 128 + stops[0] if stops and is_killed else _exit_code(workers, first_failed)


def _environments(count: int, command: str) -> list[dict[str, str]]:
    """Return the environment of each worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(choose_threads(None, count))),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "FINETUNE_COMMAND": command,
        # Hints of torch's own to people who write training loops.
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
    }
    return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def _start(arguments: Sequence[str], environment: dict[str, str], errors: IO[bytes] | None) -> Worker:
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "finetune", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=None if errors is None else subprocess.DEVNULL,
        stderr=errors,
        # Signals reach this process alone, which passes each on once.
        start_new_session=True,
    )
    return Worker(process, errors)


def _wait(workers: Sequence[Worker], received: list[int]) -> int | None:
    """Wait for all workers, ending those that an ended one left behind; return which failed first."""
    first_failed, deadline, passed_on = None, float("inf"), 0
    while True:
        codes = [worker.process.poll() for worker in workers]
        if first_failed is None:
            first_failed = next((rank for rank, code in enumerate(codes) if code), None)
        # A step and its checkpoint may take long; who can't wait says so by a second signal.
        is_urgent = len([number for number in received if number != signal.SIGUSR2]) > 1
        if deadline == float("inf") and (first_failed is not None or codes[0] is not None or is_urgent):
            deadline = time.monotonic() + SECONDS_OF_GRACE
        for number in received[passed_on:]:
            for worker in workers:
                worker.process.send_signal(number)
        passed_on = len(received)
        # A first worker that knows why it failed has said so; what the others would add is that it has gone.
        if None not in codes or (codes[0] and codes[0] != FinetuneError.exit_code) or time.monotonic() > deadline:
            return first_failed
        time.sleep(0.05)


def _exit_code(workers: Sequence[Worker], first_failed: int | None) -> int:
    """Return the code of the run: the first worker's where it knows the cause, else that of the worker which failed first."""
    code = workers[0].process.returncode
    if code == 0 or (code > 0 and code != FinetuneError.exit_code):
        return code
    # A worker that was only left alone by another reports a fault; the cause is with one that reports something else.
    informed = [worker for worker in workers if worker.process.returncode not in (0, FinetuneError.exit_code, None)]
    culprit = informed[0] if informed else workers[first_failed or 0]
    if culprit.errors is not None:
        culprit.errors.seek(0)
        sys.stderr.write(culprit.errors.read().decode("utf-8", "replace"))
    code = culprit.process.returncode
    if code < 0:
        raise ResourceError(
            f"process {first_failed or 0} of the run was ended by signal {-code}; "
            "signal 9 mostly means that memory ran out"
        )
    return code
