"""The commands that hand a finished run to others: submission, push.

Owns what they print and ask. What is written for a leaderboard is `glue_files`, what goes to the hub is `push`.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from finetune.cli import app
from finetune.cli_runs import RunArgument
from finetune.terminal import say


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
