"""The commands on finished runs: evaluate, report, status; and doctor.

Owns what they print; `predict` is in `cli_predict`. Heavy packages are imported inside the commands that need them.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from finetune.cli import app
from finetune.errors import MissingInputError
from finetune.task import Part
from finetune.terminal import console, printable, say, show_run, typed_command

RunArgument = Annotated[Path, typer.Argument(help="The folder of a run, such as runs/cola/latest.", show_default=False)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(rich_help_panel="Runs")
def evaluate(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A file or folder to measure on, in the columns of the run; default: its own rows.", show_default=False
        ),
    ] = None,
    split: Annotated[Part, typer.Option(help="Which of its own rows, or which part of a folder.")] = "test",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new report; default <run>-evaluation-<time>.", show_default=False)
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            help="What a score must be, such as 'matthews_correlation.low>=0.40' or 'accuracy@in-domain>0.6'; "
            "may be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a run's model again, on its own rows or on others.

    Exit code 4: a score is not what --require asks of it, for use in CI.
    """
    from datetime import datetime

    from finetune.requirements import check_requirements, parse_requirement, refuse_other_metrics, refuse_unmet
    from finetune.run_dir import RunDir, read_report

    requirements = [parse_requirement(text) for text in require or []]
    refuse_other_metrics(requirements, read_report(RunDir(run)))
    from finetune.evaluate_run import evaluate_run

    default = run.resolve().with_name(f"{run.resolve().name}-evaluation-{datetime.now():%Y%m%d-%H%M%S}")  # noqa: DTZ005
    path = out or default
    measured = evaluate_run(run, data, path, split=split, command=typed_command())
    show_run(path)
    findings = check_requirements(requirements, measured)
    for finding in findings:
        say(escape(finding.sentence))
    refuse_unmet(findings)


@app.command(rich_help_panel="Runs")
def report(run: RunArgument) -> None:
    """Render the report of a run again, from report.json alone."""
    from finetune.render import render_files
    from finetune.run_dir import RunDir, read_report

    render_files(read_report(RunDir(run)), RunDir(run))
    show_run(run)


@app.command(rich_help_panel="Runs")
def status(run: RunArgument, as_json: JsonFlag = False) -> None:
    """Say how a run stands, and exit with its exit code."""
    from finetune.run_dir import RunDir, read_status

    found = read_status(RunDir(run))
    if found is None:
        raise MissingInputError(f"{run}: no run stands here")
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        where = f"({found.updated}, process {found.process_id} on {found.host})"
        typer.echo(printable(f"{found.state}: {found.message} {where}"))
    raise typer.Exit(found.exit_code or 0)


@app.command(rich_help_panel="Runs")
def doctor(as_json: JsonFlag = False) -> None:
    """Say what this machine has, and what a run will use of it."""
    from finetune.doctor import examine

    findings = examine()
    if as_json:
        typer.echo(json.dumps({finding.subject: finding.value for finding in findings}))
        return
    table = Table("", "", "", box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = {True: "[green]ok[/]", False: "[red]!![/]", None: ""}[finding.is_good]
        table.add_row(mark, f"[bold]{finding.subject}[/]", escape(printable(finding.value)))
    console.print(table)
