"""Answers for the GLUE leaderboard: its test rows in, the file that it scores out.

Owns the format of both (Wang et al. 2019, https://gluebenchmark.com/submit): one file a task, the header `index<TAB>prediction`, one line
a row in the order of the test file. Which tasks are in GLUE, and their words for the labels, the tasks themselves say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import DataError, OutputError, UsageError, suggest
from finetune.fitted_run import load_run
from finetune.readers import open_table, place
from finetune.record_files import write_text
from finetune.task import GlueSubmission, get_task, list_tasks

HEADER = "index\tprediction"


@dataclass(frozen=True)
class WrittenSubmission:
    """A file for the leaderboard, and how many rows of it got each of the leaderboard's words."""

    path: Path
    counts: dict[str, int]


def list_glue_tasks() -> list[str]:
    """Return the names of the tasks that GLUE scores."""
    return [name for name in list_tasks() if get_task(name).glue is not None]


def write_submission(run: Path, data: Path, folder: Path) -> WrittenSubmission:
    """Answer the rows of GLUE's test file `data` with the model of a run; write the leaderboard's file into `folder`.

    Raises:
        UsageError: the run's task isn't in GLUE.
        OutputError: the file is there already, or the folder can't be created.
        DataError: the rows are not those of such a test file, or the run has labels that the leaderboard doesn't know.
        MissingInputError: no such run, or no such file.
    """
    fitted = load_run(run)
    wanted = _find_format(fitted.report.task)
    _refuse_other_labels(run, fitted.report.data.labels, wanted)
    path = folder / wanted.file
    if path.exists():
        raise OutputError(f"{path}: already there; nothing is overwritten, name another folder with --out")
    texts = read_test_rows(data, wanted)
    answers = [wanted.words[answer.label] for answer in fitted.predict(texts)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder can't be created ({error.strerror})") from None
    write_text(path, render_submission(answers))
    return WrittenSubmission(path, {word: answers.count(word) for word in wanted.words.values()})


def render_submission(answers: Sequence[str]) -> str:
    """Return the leaderboard's file for answers in the order of the test rows."""
    return "\n".join([HEADER, *(f"{number}\t{answer}" for number, answer in enumerate(answers)), ""])


def read_test_rows(path: Path, wanted: GlueSubmission) -> list[str | tuple[str, str]]:
    """Return the texts, or pairs of texts, of GLUE's own test file, in its order.

    Raises:
        DataError: a column is missing, the index isn't 0, 1, 2, …, or a text is null.
    """
    table = open_table(path)
    for name in (wanted.index, *wanted.columns):
        if name not in table.columns:
            there = ", ".join(f"'{column}'" for column in table.columns[:8])
            raise DataError(
                f"{place(path)}: no column '{name}', as GLUE's test file has it; it holds {there}"
                f"{suggest(name, table.columns)}"
            )
    index = table.columns.index(wanted.index)
    columns = [table.columns.index(name) for name in wanted.columns]
    found: list[str | tuple[str, str]] = []
    for row in table.rows:
        if row.cells[index] != str(len(found)):
            raise DataError(
                f"{place(path, row.number, wanted.index)}: found {row.cells[index]!r}, {len(found)} is expected: the rows "
                "are numbered from 0 in the leaderboard's order"
            )
        texts = [row.cells[column] for column in columns]
        for name, text in zip(wanted.columns, texts, strict=True):
            if text is None:
                raise DataError(f"{place(path, row.number, name)}: no text")
        first, *rest = (text or "" for text in texts)
        found.append((first, rest[0]) if rest else first)
    return found


def _find_format(task: str) -> GlueSubmission:
    """Return how the leaderboard wants the answers of a task."""
    known = list_glue_tasks()
    wanted = get_task(task).glue if task in known else None
    if wanted is None:
        raise UsageError(f"the run's task {task} is not in GLUE; tasks that are: {', '.join(known)}")
    return wanted


def _refuse_other_labels(run: Path, labels: Sequence[str], wanted: GlueSubmission) -> None:
    if unknown := [label for label in labels if label not in wanted.words]:
        allowed = ", ".join(f"'{name}'" for name in wanted.words)
        raise DataError(f"{run}: the run has the label '{unknown[0]}'; the leaderboard knows {allowed}")
