"""Several processes of a run on this machine, started by torch's own launcher.

Owns `finetune run --processes N`: the workers, their exit code, their end when this process is told to end. What the
processes do together is `processes`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.errors import ResourceError, UsageError
from finetune.machine import choose_threads, usable_cores
from finetune.run_dir import RunDir, read_status

MAXIMUM_PROCESSES = 64


def run_in_processes(count: int, arguments: Sequence[str], run_path: Path) -> int:
    """Run `finetune` with `arguments` in `count` processes; return the exit code of the run.

    torch's launcher turns every exit code into 1, so the code is read from the run's status where it left one.

    Raises:
        UsageError: a count that makes no sense.
        ResourceError: the launcher could not be started.
    """
    if not 1 <= count <= MAXIMUM_PROCESSES:
        raise UsageError(f"--processes: found {count}, allowed is 1 to {MAXIMUM_PROCESSES}")
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(choose_threads(None, count)))}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(count),
        "-m",
        "finetune",
        *arguments,
    ]
    before = read_status(RunDir(run_path))
    try:
        launcher = subprocess.Popen(command, env=environment)  # noqa: S603
    except OSError as error:
        raise ResourceError(
            f"{count} processes could not be started on {usable_cores()} cores ({error.strerror})"
        ) from None
    previous = {
        number: signal.signal(number, lambda received, _: launcher.send_signal(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        code = launcher.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    status = read_status(RunDir(run_path))
    if code != 0 and status is not None and status != before and status.exit_code:
        return status.exit_code
    return 70 if code == 1 else abs(code)
