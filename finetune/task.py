"""What a task is: where its data lives, what its labels mean, how it is scored.

Owns the type and the register: a module in `finetune/tasks/` that holds a `TASK` is a task, named after its file with `_`
written as `-`. Reads no data and imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal

from finetune.errors import RecipeError, suggest

Part = Literal["train", "dev", "test"]
ObjectiveName = Literal[
    "classification",
    "next_sentence",
    "regression",
    "multilabel",
    "masked_lm",
    "causal_lm",
    "pretraining",
    "minimal_pairs",
]
Documents = Literal["line", "paragraph", "heading", "file"]


@dataclass(frozen=True)
class Layout:
    """How the columns of a file are found: names, or 1-based numbers as text where it has no header.

    Attributes:
        label: None where the objective learns from text alone.
        labels: columns of 0 and 1, one a label, of a multi-label task.
        documents: what a document of a .txt file is: a line, lines up to a blank one, up to the next ` = Title = `, the file.
        slices: {name in reports: column} of columns by whose values scores are given; left out where a file lacks one.
    """

    text: str
    label: str | None = None
    labels: tuple[str, ...] = ()
    text_pair: str | None = None
    id: str | None = None
    group: str | None = None
    header: bool = True
    delimiter: str | None = None
    documents: Documents = "line"
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Where the rows of a task are found when the recipe names no path of its own.

    Attributes:
        files: files of each part below `$FINETUNE_DATA/<folder>`, read one after the other.
        layout: columns of those files.
        hub_id, hub_revision, hub_files, hub_layout: the same for a data set of the hub, as Parquet.
        embedded: folder inside this package, for data that the project itself wrote.
        licence: what the publisher states.
    """

    folder: str
    files: Mapping[Part, tuple[str, ...]]
    layout: Layout
    licence: str
    hub_id: str | None = None
    hub_revision: str | None = None
    hub_files: Mapping[Part, tuple[str, ...]] = field(default_factory=dict)
    hub_layout: Layout | None = None
    embedded: bool = False


@dataclass(frozen=True)
class Annotations:
    """What others noted of each test row, in a table with one row for each row of the test, in its order.

    Attributes:
        folder, file: where it is below `$FINETUNE_DATA`.
        text, label: columns that repeat the row, by which the join is checked.
        columns: columns of 0 and 1, each of which makes a slice.
        kind: what a column is, in a word.
    """

    folder: str
    file: str
    text: str
    label: str
    columns: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class GlueSubmission:
    """How the GLUE leaderboard asks about a task, and how it wants the answers.

    Attributes:
        file: name of the answers in the archive that is handed in.
        words: {label name: the leaderboard's word}.
        columns: text columns of GLUE's own test file; two for a pair.
        index: column that numbers its rows from 0.
    """

    file: str
    words: Mapping[str, str]
    columns: tuple[str, ...]
    index: str = "index"


@dataclass(frozen=True)
class Prompt:
    """How a language model is asked about a row without being fine-tuned.

    Attributes:
        template: text with `{text}`, maybe `{text_pair}`, and `{answer}` where the label's word stands.
        answers: {label name: the word that stands for it}.
        separator: what stands between worked examples and the row.
    """

    template: str
    answers: Mapping[str, str]
    separator: str = "\n\n"


@dataclass(frozen=True)
class Task:
    """A declaration of what is learnt and how it is judged.

    Attributes:
        objective: what is learnt from a row; each has its module in `objectives/`.
        labels: {text in the file: name}, in the order of label ids; None where the data decides.
        row_slices: named ranges of test rows, valid for a test of `test_rows` rows only.
        demo: sentences, or pairs of sentences, to try a fitted model on.
        replace: {text: text} put in its place before anything else sees a row, such as line breaks in HTML.
        prompt: how a language model is asked that wasn't fine-tuned.
        annotations: what others noted of the test rows, valid for a test of `test_rows` rows only.
        glue: how answers are handed in, for a task of the GLUE leaderboard.
    """

    name: str
    title: str
    metrics: tuple[str, ...]
    primary_metric: str
    objective: ObjectiveName = "classification"
    source: Source | None = None
    labels: Mapping[str, str] | None = None
    row_slices: Mapping[str, range] = field(default_factory=dict)
    test_rows: int | None = None
    demo: tuple[str | tuple[str, str], ...] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    prompt: Prompt | None = None
    glue: GlueSubmission | None = None
    annotations: Annotations | None = None


@cache
def list_tasks() -> tuple[str, ...]:
    """Return the names of all tasks, sorted."""
    package = import_module("finetune.tasks")
    return tuple(sorted(module.name.replace("_", "-") for module in iter_modules(package.__path__)))


def get_task(name: str) -> Task:
    """Return the task called `name`.

    Raises:
        RecipeError: no such task; the message names the nearest one.
    """
    if name not in list_tasks():
        raise RecipeError(
            [f"task: no task is called '{name}', known are {', '.join(list_tasks())}{suggest(name, list_tasks())}"]
        )
    task = import_module(f"finetune.tasks.{name.replace('-', '_')}").TASK
    assert isinstance(task, Task)
    return task
