"""What the commands of the terminal share: how lines are printed, and how a run is shown.

Owns the console and the safety of what reaches it. The commands are in `cli` and `cli_runs`.
"""

import os
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()


def show_run(path: Path) -> None:
    """Print the summary of a run, where its report lies, and how to try its model."""
    from finetune.card_examples import find_example, judges_pairs, write_command_text
    from finetune.data_checks import describe_rows
    from finetune.render import render_console
    from finetune.run_dir import RunDir, read_report

    found = read_report(RunDir(path))
    console.print(render_console(found))
    for line in describe_rows(found.data):
        say(f"data:   {escape(line)}")
    say(f"report: [bold]{escape(str(RunDir(path).report_html))}[/]")
    if RunDir(path).model.exists():
        example = find_example(found)
        if judges_pairs(found):
            text = write_command_text(example if len(example) == 2 else ("first text", "second text"))
        else:
            text = f'"{example[0] if example else "your text"}"'
        say(f"try:    finetune predict {escape(str(path))} {escape(text)}")


def say(markup: str) -> None:
    """Print one line, however wide the terminal is."""
    console.print(printable(markup), highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return text without control characters, which must not reach the terminal from data or file names."""
    return "".join(letter if letter in "\n\t" or letter.isprintable() else repr(letter)[1:-1] for letter in text)


def typed_command() -> str:
    """Return the command line as typed, but for bytes that no record could hold; workers are told by their launcher."""
    typed = os.environ.get("FINETUNE_COMMAND") or shlex.join(["finetune", *sys.argv[1:]])
    return typed.encode("utf-8", "backslashreplace").decode()


def plain_table(*names: str) -> Table:
    """Return a table that cuts no cell short, however narrow the terminal is."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table
