"""The commands that hand a finished run to others: submission, push.

Owns what they print and ask. What is written for a leaderboard is `glue_files`, what goes to the hub is `push`.
"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from finetune.cli import app
from finetune.cli_runs import RunArgument
from finetune.errors import StoppedError
from finetune.terminal import say

if TYPE_CHECKING:
    from finetune.push import Parcel


@app.command(rich_help_panel="Runs")
def submission(
    run: RunArgument,
    data: Annotated[
        Path, typer.Option(help="GLUE's own test file of the task, such as test.tsv of CoLA.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the answers; default <run>-submission-<time>.", show_default=False),
    ] = None,
) -> None:
    """Answer the test rows of the GLUE leaderboard, in the file that it scores.

    The leaderboard takes one flat ZIP archive with the files of all its tasks.
    """
    from finetune.glue_files import write_submission

    default = run.resolve().with_name(f"{run.resolve().name}-submission-{datetime.now():%Y%m%d-%H%M%S}")  # noqa: DTZ005
    written = write_submission(run, data, out or default)
    counts = ", ".join(f"{word}: {count:,}" for word, count in written.counts.items())
    say(f"written: [bold]{escape(str(written.path))}[/]; {sum(written.counts.values()):,} rows ({counts})")


@app.command(rich_help_panel="Runs")
def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.", show_default=False)],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; asks first.")] = False,
    with_report: Annotated[
        bool | None,
        typer.Option(
            "--with-report/--without-report",
            help="Push the reports, which hold texts of test rows; default: only to a private repository.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Answer yes to every question.")] = False,
) -> None:
    """Push the model of a run with its card, and its reports, to the Hugging Face hub.

    A new repository is private unless --public is given. Nothing goes to a repository that is public already without it.
    """
    from finetune.push import Hub, pack_run

    parcel = pack_run(run, repository, with_report=not public if with_report is None else with_report)
    hub = Hub()
    visibility = hub.find_visibility(repository, is_public=public)
    concerns = [*_list_collapse(parcel), *(_list_exposure(parcel) if public else [])]
    for concern in concerns:
        say(concern)
    if concerns and not yes and not typer.confirm("Push it?"):
        raise StoppedError("nothing was pushed")
    pushed = hub.push(parcel, visibility, is_public=public)
    for remark in pushed.remarks:
        say(f"[yellow]the hub remarks:[/] {escape(remark)}")
    if visibility == "private" and public:
        say("The repository was private before and stays so; its settings on the hub can change that.")
    seen_by = "everybody" if public and visibility != "private" else "you, or your organisation, alone"
    say(f"pushed: [bold]{escape(pushed.address)}[/]; {len(parcel.files)} files, seen by {seen_by}")


def _list_collapse(parcel: "Parcel") -> list[str]:
    """Return that the model predicts one class only, where it does."""
    from finetune.wording import plain

    if parcel.collapsed_to is None:
        return []
    label = escape(plain(parcel.collapsed_to))
    return [f"[bold red]The model predicts one class only:[/] it gave every test row the label '{label}'."]


def _list_exposure(parcel: "Parcel") -> list[str]:
    """Return what becomes public, and under which licence the data was had."""
    from finetune.wording import plain

    texts = "the reports, which hold texts of test rows" if parcel.has_report else "no text of the data"
    return [
        f"[bold]Everybody will see[/] in {parcel.repository}: {', '.join(escape(name) for name in parcel.files)}",
        f"Among them the weights, the card with scores, settings and the data's labels, and {texts}.",
        f"Licence of the data: {escape(plain(parcel.report.data.licence))}. The model has the one that its card states, or none.",
    ]
