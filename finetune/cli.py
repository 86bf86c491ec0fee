"""The command line: arguments in, calls to the rest of the program, messages and exit codes out.

Owns the commands that start from a recipe, and what they print; those on finished runs are in `cli_runs`. Heavy packages are
imported inside the commands that need them, so that --help answers at once. How an error becomes a message and an exit code is
`exits`.
"""

import gc
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from finetune.errors import FinetuneError, UsageError
from finetune.machine import process_rank, processes_asked_for
from finetune.terminal import console, plain_table, printable, say, show_run, typed_command

app = typer.Typer(
    name="finetune",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Fine-tune BERT and GPT checkpoints from recipes, with evaluation reports a sceptical reader can trust.\n\n"
    "First steps: [bold]finetune run quickstart[/], then [bold]finetune recipes[/] for what else there is, and "
    "[bold]finetune init data.csv[/] for your own file.",
)
RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe by name (finetune recipes) or by path.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Values that beat the recipe's, such as train.learning_rate=3e-5 seeds=[1,2,3].", show_default=False
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run folder; default runs/<recipe>/<time>.", show_default=False)
]
ResumeOption = Annotated[
    str,
    typer.Option(
        "--resume",
        help="Continue --out, or the recipe's newest unfinished run; --resume=auto starts fresh where there is none.",
        metavar="",
        show_default=False,
    ),
]
JobsOption = Annotated[int, typer.Option("--jobs", help="Seeds at a time, each in a process of its own.")]


class CheckStage(StrEnum):
    """Where `check --only` stops."""

    recipe = "recipe"
    data = "data"
    model = "model"


@app.command(rich_help_panel="Fine-tune")
def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    resume: ResumeOption = "no",
    allow_change: Annotated[
        list[str] | None,
        typer.Option(
            help="With --resume, a value that may differ from the one the run began with, such as train.learning_rate "
            "or versions; may be given several times.",
            show_default=False,
        ),
    ] = None,
    jobs: JobsOption = 1,
    processes: Annotated[
        int | None, typer.Option(help="Processes that train a seed together.", show_default=False)
    ] = None,
) -> None:
    """Train, evaluate and report a recipe.

    Writes a run folder with the fitted model, every prediction, and a report as HTML, Markdown and JSON.
    """
    from finetune.recipe_file import load_recipe

    mode = _read_resume(resume)
    allowed = allow_change or []
    if allowed and not mode:
        raise UsageError("--allow-change: nothing can have changed without --resume")
    _check_jobs(jobs, max(processes or 1, processes_asked_for()))
    loaded = load_recipe(recipe, overrides or [])
    if processes is not None and processes != 1:
        from finetune.launch import run_in_processes

        options = [*(["--out", str(out)] if out else []), *([] if resume == "no" else [f"--resume={resume}"])]
        options += [f"--allow-change={field}" for field in allowed]
        arguments = ["run", *options, "--", recipe, *(overrides or [])]
        raise typer.Exit(run_in_processes(processes, arguments, typed_command()))
    from finetune.run import run_recipe

    _spare_libraries()
    fitted = run_recipe(loaded, out, resume=mode, allow_changes=allowed, jobs=jobs, command=typed_command(), tell=_tell)
    if process_rank() == 0:
        show_run(fitted.path)


def _spare_libraries() -> None:
    """Keep collections of reference cycles from looking at what the libraries, now loaded, are made of: it stays."""
    if not gc.get_freeze_count():
        gc.freeze()


@app.command(rich_help_panel="Fine-tune")
def reproduce(
    recipe: RecipeArgument,
    out: OutOption = None,
    resume: ResumeOption = "no",
    jobs: JobsOption = 1,
) -> None:
    """Run a recipe as it stands and hold its scores against the bands it expects.

    Exit code 0: within every band; 4: above or below one; 65: on other rows than those that a band speaks of.
    """
    from finetune.recipe_file import load_recipe
    from finetune.reproduce import describe_verdict, judge_reproduction, refuse_nothing_expected

    mode = _read_resume(resume)
    _check_jobs(jobs, processes_asked_for())
    loaded = load_recipe(recipe)
    refuse_nothing_expected(loaded)
    from finetune.run import run_recipe

    _spare_libraries()
    fitted = run_recipe(loaded, out, resume=mode, jobs=jobs, command=typed_command(), tell=_tell)
    if process_rank() == 0:
        show_run(fitted.path)
        for band in fitted.report.bands:
            _tell(describe_verdict(fitted.report, band))
        judge_reproduction(fitted.report)


def _read_resume(word: str) -> bool | Literal["auto"]:
    modes: dict[str, bool | Literal["auto"]] = {"no": False, "newest": True, "auto": "auto"}
    if word not in modes:
        raise UsageError(f"--resume: found '{word}', allowed is --resume alone or --resume=auto")
    return modes[word]


def _check_jobs(jobs: int, processes: int) -> None:
    from finetune.launch import MAXIMUM_PROCESSES

    if not 1 <= jobs <= MAXIMUM_PROCESSES:
        raise UsageError(f"--jobs: found {jobs}, allowed is 1 to {MAXIMUM_PROCESSES}")
    if jobs > 1 and processes > 1:
        raise UsageError(
            f"--jobs: found {jobs} with {processes} processes a seed; choose one: --jobs for several seeds at a time, "
            "--processes for one seed in several processes"
        )


def _tell(line: str) -> None:
    say(escape(line))


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
        say(f"[{colours[result.state]}]{result.state:<11}[/] [bold]{result.stage:<6}[/] {escape(result.message)}")
    raise typer.Exit(exit_code_of(results))


@app.command(rich_help_panel="Recipes")
def show(recipe: RecipeArgument, overrides: Overrides = None) -> None:
    """Print a recipe with every value and where it came from: default, file:line, or command line."""
    from finetune.recipe_file import load_recipe
    from finetune.resolved import render_origins

    table = plain_table("key", "value", "from")
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
    table = plain_table("recipe", "what", "checkpoint", "metric", "expected")
    # A name is what the next command is given, so it stays in one piece.
    table.columns[0].no_wrap = True
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
        Path, typer.Argument(help="A .csv, .tsv, .jsonl, .parquet or .txt file with your texts.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Recipe to write; default recipes/<file>.yaml.", show_default=False)
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint to start from.")] = "google-bert/bert-base-uncased",
) -> None:
    """Write a recipe for your own file: task and columns are guessed, every guess is said, the result is checked."""
    from finetune.errors import OutputError
    from finetune.init_recipe import guess_recipe, render_recipe
    from finetune.recipe_file import load_recipe
    from finetune.record_files import write_text

    guess = guess_recipe(data)
    path = out or Path("recipes") / f"{data.stem}.yaml"
    if path.exists():
        raise OutputError(f"{path}: already there; nothing is overwritten, name another with --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: the folder can't be created ({error.strerror})") from None
    write_text(path, render_recipe(guess, checkpoint, path.parent))
    try:
        load_recipe(path)
    except FinetuneError:
        path.unlink()
        raise
    for reason in guess.reasons:
        say(f"guessed: {escape(reason)}")
    say(f"written: [bold]{escape(str(path))}[/]; next: finetune check {escape(str(path))}")


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
