"""The command line called within this process, and what tests of it share: recipes to run, folders to compare."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from tests.tiny import write_rows

ROOT = Path(__file__).parent.parent
RECIPE = """task: text-classification
model: {{checkpoint: {checkpoint}}}
data: {{path: {data}, columns: {{text: text, label: label}}}}
train: {{max_steps: 4, batch_size: 16, learning_rate: 1.0e-3, precision: fp32}}
evaluate: {{bootstrap: 100}}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str) -> Outcome:
    """Run `finetune` as its entry point does, without a process of its own."""
    from finetune.exits import main

    out, err = io.StringIO(), io.StringIO()
    # What a command sets in the environment ends with its process; here it has to end with the call.
    with (
        mock.patch.object(sys, "argv", ["finetune", *arguments]), mock.patch.dict(os.environ),
        redirect_stdout(out), redirect_stderr(err),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
    return Outcome(code, out.getvalue(), err.getvalue())


def write_recipe(path: Path, checkpoint: Path | str, data: str = "rows.csv", rows: int = 60) -> Path:
    """Write a recipe of four steps, and its rows beside it where it names rows.csv."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(RECIPE.format(checkpoint=checkpoint, data=data), encoding="utf-8")
    if data == "rows.csv" and not (path.parent / data).exists():
        write_rows(path.parent / data, rows)
    return path


def bytes_below(folder: Path) -> dict[str, bytes | str]:
    """Return every file below a folder with its bytes, and every link with its target."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def start(cwd: Path, *arguments: str, **options: object) -> "subprocess.Popen[str]":
    """Start `finetune` in a process and session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "finetune", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )


def wait_until(happened: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 120.0) -> None:
    """Wait for something that a living process is about to do."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, f"the process ended first: {process.communicate()}"
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
