"""The command that compares finished runs.

Owns what it prints and where its files go. What is compared is decided by `compare`.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from finetune.cli import app
from finetune.cli_runs import JsonFlag
from finetune.errors import OutputError
from finetune.terminal import console, say, typed_command


@app.command(rich_help_panel="Runs")
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(help="The folders of two runs or more, each compared with every later one.", show_default=False),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="The metric of the verdict; default: the first run's primary one.", show_default=False),
    ] = None,
    intersection: Annotated[
        bool, typer.Option("--intersection", help="Compare the test rows that all runs share, where they differ.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples behind every interval.")] = 2_000,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the comparison as HTML, Markdown and JSON; default comparison-<time> beside the first run.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Say whether runs differ on the same test rows, or whether that is noise.

    With --json the record is printed, and no file written unless --out names a folder.
    """
    from finetune.compare import compare_runs
    from finetune.render_comparison import render_console, write_comparison
    from finetune.run_dir import RunDir

    folder = out if out is not None or as_json else _default_folder(runs[0])
    if folder is not None:
        _refuse_used_folder(folder)
    found = compare_runs(runs, metric=metric, intersection=intersection, resamples=resamples, command=typed_command())
    if folder is not None:
        _create_folder(folder)
        write_comparison(found, RunDir(folder))
    if as_json:
        typer.echo(json.dumps(found.model_dump(mode="json"), indent=1, allow_nan=False))
        return
    console.print(render_console(found))
    if folder is not None:
        say(f"comparison: [bold]{escape(str(RunDir(folder).comparison_html))}[/]")


def _default_folder(run: Path) -> Path:
    """Return `comparison-<time>` beside a run, a folder that doesn't exist yet."""
    base = run.resolve().with_name(f"comparison-{datetime.now():%Y%m%d-%H%M%S}")  # noqa: DTZ005
    folder, count = base, 1
    while folder.exists():
        count += 1
        folder = base.with_name(f"{base.name}-{count}")
    return folder


def _refuse_used_folder(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: a file stands where the folder of the comparison should be")
        if folder.is_dir() and any(folder.iterdir()):
            raise OutputError(f"{folder}: the folder isn't empty; choose another with --out")
    except OSError as error:
        raise OutputError(f"{folder}: the folder can't be looked into ({error.strerror})") from None


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder can't be created ({error.strerror})") from None
