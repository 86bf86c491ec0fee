"""The command line: arguments in, calls to the rest of the program, messages and exit codes out.

Owns the commands and what they print. Heavy packages are imported inside the commands that need them, so that --help
answers at once. How an error becomes a message and an exit code is `exits`.
"""

import json
import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finetune.errors import DataError, FinetuneError, MissingInputError, UsageError

app = typer.Typer(
    name="finetune",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Fine-tune BERT and GPT checkpoints from recipes, with evaluation reports a sceptical reader can trust.\n\n"
    "First steps: [bold]finetune run quickstart[/], then [bold]finetune recipes[/] for what else there is, and "
    "[bold]finetune init data.csv[/] for your own file.",
)
console = Console()
RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe by name (finetune recipes) or by path.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Values that beat the recipe's, such as train.learning_rate=3e-5 seeds=[1,2,3].", show_default=False
    ),
]
RunArgument = Annotated[Path, typer.Argument(help="The folder of a run, such as runs/cola/latest.", show_default=False)]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class CheckStage(StrEnum):
    """Where `check --only` stops."""

    recipe = "recipe"
    data = "data"
    model = "model"


@app.command(rich_help_panel="Fine-tune")
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder; default runs/<recipe>/<time>.", show_default=False)
    ] = None,
    resume: Annotated[
        str,
        typer.Option(
            help="Continue --out, or the recipe's newest unfinished run; --resume=auto starts fresh "
            "where there is none.",
            metavar="",
            show_default=False,
        ),
    ] = "no",
    processes: Annotated[int | None, typer.Option(help="Processes on this machine.", show_default=False)] = None,
) -> None:
    """Train, evaluate and report a recipe.

    Writes a run folder with the fitted model, every prediction, and a report as HTML, Markdown and JSON.
    """
    from finetune.recipe_file import load_recipe

    modes: dict[str, bool | Literal["auto"]] = {"no": False, "newest": True, "auto": "auto"}
    if resume not in modes:
        raise UsageError(f"--resume: found '{resume}', allowed is --resume alone or --resume=auto")
    loaded = load_recipe(recipe, overrides or [])
    if processes is not None and processes != 1:
        from finetune.launch import run_in_processes

        options = [*(["--out", str(out)] if out else []), *([] if resume == "no" else [f"--resume={resume}"])]
        arguments = ["run", *options, "--", recipe, *(overrides or [])]
        raise typer.Exit(run_in_processes(processes, arguments, _command()))
    from finetune.run import run_recipe

    fitted = run_recipe(loaded, out, resume=modes[resume], command=_command())
    if os.environ.get("RANK", "0") == "0":
        _show_run(fitted.path)


@app.command(rich_help_panel="Fine-tune")
def check(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    only: Annotated[CheckStage | None, typer.Option(help="Stop after this stage.", show_default=False)] = None,
) -> None:
    """Check a recipe, its data, its checkpoint and one real training step, without writing a run.

    Says how many steps, minutes and gigabytes the run will take. Exit code 78: the recipe is wrong; 65 or 66: data or
    checkpoint; 69: something is only unavailable here.
    """
    from finetune.check import check_recipe_stages, exit_code_of

    colours = {"ok": "green", "failed": "red", "unavailable": "yellow", "skipped": "dim"}
    results = []
    for result in check_recipe_stages(recipe, overrides or [], only.value if only else None):
        results.append(result)
        _say(f"[{colours[result.state]}]{result.state:<11}[/] [bold]{result.stage:<6}[/] {escape(result.message)}")
    raise typer.Exit(exit_code_of(results))


@app.command(rich_help_panel="Recipes")
def show(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Print a recipe with every value and where it came from: default, file:line, or command line."""
    from finetune.recipe_file import load_recipe
    from finetune.resolved import render_origins

    table = Table("key", "value", "from", box=None, pad_edge=False)
    for key, value, origin in render_origins(load_recipe(recipe, overrides or [])):
        table.add_row(
            escape(printable(key)),
            escape(printable(value)),
            escape(printable(origin)),
            style="dim" if origin == "default" else "",
        )
    console.print(table)


@app.command(rich_help_panel="Recipes")
def recipes(markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False) -> None:
    """List the recipes: task, checkpoint, metric and expected band."""
    from finetune.recipe_list import describe_recipes, render_recipes_markdown

    rows = describe_recipes()
    if markdown:
        typer.echo(render_recipes_markdown(rows), nl=False)
        return
    table = Table("recipe", "what", "checkpoint", "metric", "expected", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            f"[bold]{escape(row.name)}[/]",
            escape(row.purpose),
            escape(row.checkpoint),
            row.metric,
            escape(row.expected),
        )
    console.print(table)


@app.command(rich_help_panel="Recipes")
def schema() -> None:
    """Print the JSON schema of recipes, for completion in editors."""
    from finetune.recipe import build_json_schema

    typer.echo(json.dumps(build_json_schema(), indent=1))


@app.command(rich_help_panel="Recipes")
def init(
    data: Annotated[
        Path, typer.Argument(help="A .csv, .tsv, .jsonl or .parquet file with a text and a label.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Recipe to write; default recipes/<file>.yaml.", show_default=False)
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint to start from.")] = "google-bert/bert-base-uncased",
) -> None:
    """Write a recipe for your own file: columns are guessed, every guess is said, the result is checked."""
    from finetune.errors import OutputError
    from finetune.init_recipe import guess_columns, render_recipe
    from finetune.recipe_file import load_recipe
    from finetune.run_dir import write_text

    guess = guess_columns(data)
    path = out or Path("recipes") / f"{data.stem}.yaml"
    if path.exists():
        raise OutputError(f"{path}: already there; nothing is overwritten, name another with --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, render_recipe(guess, checkpoint, path.parent))
    try:
        load_recipe(path)
    except FinetuneError:
        path.unlink()
        raise
    for reason in guess.reasons:
        _say(f"guessed: {escape(reason)}")
    _say(f"written: [bold]{escape(str(path))}[/]; next: finetune check {escape(str(path))}")


@app.command(rich_help_panel="Runs")
def evaluate(
    run: RunArgument,
    data: Annotated[
        Path | None,
        typer.Option(help="Rows to measure on, in the columns of the run; default: its test rows.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new report; default <run>-evaluation-<time>.", show_default=False)
    ] = None,
) -> None:
    """Measure a run's model on other rows."""
    from datetime import datetime

    from finetune.evaluate_run import evaluate_run

    default = run.resolve().with_name(f"{run.resolve().name}-evaluation-{datetime.now():%Y%m%d-%H%M%S}")  # noqa: DTZ005
    path = out or default
    evaluate_run(run, data, path)
    _show_run(path)


@app.command(rich_help_panel="Runs")
def predict(
    run: RunArgument,
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to judge; none: one a line from --file or standard input.", show_default=False),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one text a line.", show_default=False)] = None,
    as_json: JsonFlag = False,
) -> None:
    """Label new texts, with probabilities.

    A pair of texts is written with a tab between them.
    """
    from finetune.predict import load_run

    found = texts or _read_lines(file)
    # Python keeps bytes of an argument that are no text as lone surrogates.
    if any("\ud800" <= letter <= "\udfff" for text in found for letter in text):
        raise DataError("a text behind the run is not UTF-8")
    fitted = load_run(run)
    is_pair = fitted.report.recipe["data"]["columns"]["text_pair"] is not None
    if is_pair and (bad := next((text for text in found if text.count("\t") != 1), None)) is not None:
        raise UsageError(f"this run judges pairs: two texts with a tab between, found {bad!r}")
    inputs: list = [tuple(text.split("\t")) if is_pair else text for text in found]
    for text, answer in zip(found, fitted.predict(inputs), strict=True):
        if as_json:
            typer.echo(json.dumps({"text": text, "label": answer.label, "probabilities": answer.probabilities}))
        else:
            typer.echo(printable(f"{answer.label}\t{answer.probabilities[answer.label]:.3f}\t{text}"))


@app.command(rich_help_panel="Runs")
def report(run: RunArgument) -> None:
    """Render the report of a run again, from report.json alone."""
    from finetune.render import render_files
    from finetune.run_dir import RunDir, read_report

    render_files(read_report(RunDir(run)), RunDir(run))
    _show_run(run)


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


def _show_run(path: Path) -> None:
    from finetune.render import render_console
    from finetune.run_dir import RunDir, read_report
    from finetune.task import get_task

    found = read_report(RunDir(path))
    console.print(render_console(found))
    _say(f"report: [bold]{escape(str(RunDir(path).report_html))}[/]")
    if RunDir(path).model.exists():
        demo = get_task(found.task).demo
        _say(f'try:    finetune predict {escape(str(path))} "{escape(demo[0] if demo else "your text")}"')


def _say(markup: str) -> None:
    """Print one line, however wide the terminal is."""
    console.print(printable(markup), highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text without control characters, which must not reach the terminal from data or file names."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _read_lines(file: Path | None) -> list[str]:
    """Return the lines of a file, or of standard input."""
    if file is None and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("no text given: write it behind the run, name a --file, or pipe lines in")
    try:
        raw = file.read_bytes() if file else sys.stdin.buffer.read()
        lines = raw.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except FileNotFoundError:
        raise MissingInputError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file}: a folder, not a file of texts") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file or 'standard input'}: byte {error.start} is not UTF-8 text") from None
    return lines[:-1] if lines[-1] == "" else lines


def _command() -> str:
    """Return the command line as typed; workers are told by their launcher."""
    return os.environ.get("FINETUNE_COMMAND") or shlex.join(["finetune", *sys.argv[1:]])


def _show_version(wanted: bool) -> None:
    if wanted:
        from finetune import __version__

        typer.echo(f"finetune {__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["FINETUNE_DEBUG"] = "1"
