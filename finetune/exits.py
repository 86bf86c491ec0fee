"""From the end of a command to an exit code: every error is one message for users, never a traceback unless asked for.

Owns the entry point `finetune`, the table of errors.py in practice, and the environment that keeps libraries quiet. The
commands are in `cli`.
"""

import atexit
import gc
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from finetune import cli_compare, cli_predict, cli_runs, cli_share
from finetune.cli import app
from finetune.errors import FinetuneError, StopRun, StorageError, UsageError, as_finetune_error
from finetune.machine import process_rank
from finetune.stopping import end_with_launcher
from finetune.terminal import printable

# Each adds its commands to the app when it is imported.
_COMMANDS = (cli_runs, cli_predict, cli_compare, cli_share)


def main() -> NoReturn:
    """Run the command line; every error ends in one message and a documented exit code."""
    # None of the libraries may call home, or talk over our output.
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "DO_NOT_TRACK": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)
    end_with_launcher()
    _spare_collections()
    _open_streams()
    arguments = ["--resume=newest" if word == "--resume" else word for word in sys.argv[1:]]
    try:
        code = _run(arguments)
        sys.stdout.flush()
        _leave(code)
    except FinetuneError as error:
        _fail(error, str(error), error.exit_code)
    except (KeyboardInterrupt, StopRun) as error:
        told = as_finetune_error(error)
        _fail(error, str(told), told.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(0)
    except Exception as error:
        _fail_unexpected(error)


def _spare_collections() -> None:
    """Collect reference cycles seldom, and none at the end.

    The libraries make millions of objects that stay; looking among them for garbage took a third of the time of their import.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def _run(arguments: list[str]) -> int:
    """Run the command that was asked for; return its exit code."""
    if "_FINETUNE_COMPLETE" in os.environ:
        # A shell asks what could come next; typer answers and exits.
        app(prog_name="finetune")
    command = typer.main.get_command(app)
    try:
        # Not app(): it would end Ctrl-C and a broken pipe in silence, each with a code of its own.
        with command.make_context("finetune", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except SystemExit:
        # How rich ends a program whose reader has gone, and nothing else here does.
        return 0
    return 0


def _open_streams() -> None:
    """Make output possible where a stream was closed by the caller, or its encoding lacks a letter."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _leave(code: int) -> NoReturn:
    if "torch" in sys.modules:
        import torch.distributed as distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
    sys.exit(code)


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    if os.environ.get("FINETUNE_DEBUG"):
        traceback.print_exception(error)
    # A full disk may hold the log that this goes to; the exit code still tells.
    with suppress(OSError):
        print(f"finetune: {printable(message)}", file=sys.stderr)  # noqa: T201
    _leave(code)


def _fail_unexpected(error: Exception) -> NoReturn:
    if isinstance(error, typer.Abort):
        _fail(error, "stopped", 130)
    if isinstance(error, TyperException):
        # Without any argument the help has been printed, and there is nothing to add.
        message, context = error.format_message(), getattr(error, "ctx", None)
        if not message:
            _leave(UsageError.exit_code)
        place = context.command_path if context else "finetune"
        _fail(error, f"{message.rstrip('.')} ({place} --help says what there is)", UsageError.exit_code)
    told = as_finetune_error(error)
    if isinstance(told, StorageError):
        _drop_output()
    if type(told) is not FinetuneError:
        _fail(error, str(told), told.exit_code)
    place = "run again with --debug for the details"
    # Of several processes the first one alone writes.
    if process_rank() == 0:
        with suppress(OSError):
            log = Path("finetune-debug.log")
            log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            place = f"the details are in {log}"
    _fail(error, f"{told}; {place}", told.exit_code)


def _drop_output() -> None:
    """Forget output that couldn't be written, which Python would try again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
