"""From the end of a command to an exit code: every error is one message for users, never a traceback unless asked for.

Owns the entry point `finetune`, the table of errors.py in practice, and the environment that keeps libraries quiet. The
commands are in `cli`.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from finetune.cli import app
from finetune.errors import FinetuneError, ResourceError, UsageError


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
    arguments = ["--resume=newest" if word == "--resume" else word for word in sys.argv[1:]]
    try:
        code = app(arguments, standalone_mode=False)
        _leave(code if isinstance(code, int) else 0)
    except FinetuneError as error:
        _fail(error, str(error), error.exit_code)
    except KeyboardInterrupt as error:
        _fail(error, "stopped by Ctrl-C; continue with --resume", 130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(0)
    except Exception as error:
        _fail_unexpected(error)


def _leave(code: int) -> NoReturn:
    if "torch" in sys.modules:
        import torch.distributed as distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
    sys.exit(code)


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    if os.environ.get("FINETUNE_DEBUG"):
        traceback.print_exception(error)
    # Control characters from data or file names must not reach the terminal.
    safe = "".join(letter if letter in "\n\t" or letter.isprintable() else repr(letter)[1:-1] for letter in message)
    print(f"finetune: {safe}", file=sys.stderr)  # noqa: T201
    _leave(code)


def _fail_unexpected(error: Exception) -> NoReturn:
    if isinstance(error, typer.Abort):
        _fail(error, "stopped", 130)
    if isinstance(error, TyperException) and hasattr(error, "show"):
        error.show()  # ty: ignore[not-callable]
        _leave(UsageError.exit_code)
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or "can't allocate memory" in str(error):
        _fail(
            error,
            "out of memory: lower train.micro_batch_size (accumulation keeps the batch) or data.max_length",
            ResourceError.exit_code,
        )
    log = Path("finetune-debug.log")
    try:
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        place = f"the details are in {log}"
    except OSError:
        place = "run again with --debug for the details"
    first = str(error).splitlines()[0] if str(error) else ""
    _fail(error, f"a fault of this program: {type(error).__name__}: {first}; {place}", 70)
