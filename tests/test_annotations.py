"""finetune.annotations: joined by row number, drawn rows too; how well they fit is said, what is wrong is refused by its place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from finetune.annotations import AnnotatedRows, find_annotated_rows
from finetune.errors import DataError
from finetune.task import Annotations, Task, get_task

HEADER = ("Source", "Label", "Sentence", "Simple", "N, Adj", "Never")
LINES = [
    ("a", "1", "One sings.", "1", "0", "0"),
    ("a", "0", "Two sing.", "0", "1", "0"),
    ("b", "1", "Three sing.", "1", "1", "0"),
    ("b", "0", "Four sings.", "0", "0", "0"),
]
TASK = Task(
    name="made-up",
    title="Made up",
    metrics=("accuracy",),
    primary_metric="accuracy",
    labels={"0": "no", "1": "yes"},
    test_rows=4,
    annotations=Annotations("notes", "major.tsv", "Sentence", "Label", ("Simple", "N, Adj", "Never"), "phenomenon"),
)
ROWS = [f"test/{number}" for number in range(4)]
TEXTS = [(line[2],) for line in LINES]
LABELS = ["yes", "no", "yes", "no"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of annotations, written, below `$FINETUNE_DATA`."""
    monkeypatch.setenv("FINETUNE_DATA", str(tmp_path))
    (tmp_path / "notes").mkdir()
    return write(tmp_path / "notes" / "major.tsv", LINES)


def write(path: Path, lines: list[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> Path:
    path.write_text("".join("\t".join(line) + "\n" for line in (header, *lines)), encoding="utf-8")
    return path


def as_lists(found: AnnotatedRows) -> dict[str, list[int]]:
    assert all(positions.dtype == np.int64 for positions in found.slices.values())
    return {name: positions.tolist() for name, positions in found.slices.items()}


def test_each_phenomenon_that_a_row_shows_is_a_slice(file: Path) -> None:
    found = find_annotated_rows(TASK, ROWS, TEXTS, LABELS)
    assert as_lists(found) == {"phenomenon: Simple": [0, 2], "phenomenon: N, Adj": [1, 2]}
    assert found.notes == ()


def test_drawn_rows_are_joined_by_their_number(file: Path) -> None:
    chosen = [3, 2, 0]
    found = find_annotated_rows(
        TASK,
        [ROWS[number] for number in chosen],
        [TEXTS[number] for number in chosen],
        [LABELS[number] for number in chosen],
    )
    assert as_lists(found) == {"phenomenon: Simple": [1, 2], "phenomenon: N, Adj": [1]}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        ({0: "1 sings."}, {}, "1 text and 0 labels differ"),
        ({0: "One sings. "}, {2: "no", 3: "yes"}, "1 text and 2 labels differ"),
        ({1: "Two  sing.", 2: "three sing."}, {0: "no"}, "2 texts and 1 label differ"),
    ],
)
def test_the_note_counts_texts_and_labels_that_differ(
    file: Path, texts: dict[int, str], labels: dict[int, str], said: str
) -> None:
    found = find_annotated_rows(
        TASK,
        ROWS,
        [(texts.get(number, text),) for number, (text,) in enumerate(TEXTS)],
        [labels.get(number, label) for number, label in enumerate(LABELS)],
    )
    assert as_lists(found) == {"phenomenon: Simple": [0, 2], "phenomenon: N, Adj": [1, 2]}
    assert found.notes == (f"the phenomenon annotations are joined by row: {said} from these rows",)


def test_other_rows_than_the_annotated_ones_get_no_slices(file: Path) -> None:
    nothing = AnnotatedRows({}, ())
    assert find_annotated_rows(TASK, ROWS, [*TEXTS[1:], TEXTS[0]], LABELS) == nothing
    assert find_annotated_rows(TASK, ["test/0", "test/4"], TEXTS[:2], LABELS[:2]) == nothing
    assert find_annotated_rows(TASK, ROWS, [(*text, "pair") for text in TEXTS], LABELS) == nothing
    assert find_annotated_rows(TASK, [], [], []) == nothing


def test_without_data_without_the_file_or_for_another_task_there_is_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = AnnotatedRows({}, ())
    assert find_annotated_rows(replace(TASK, annotations=None), ROWS, TEXTS, LABELS) == nothing
    file.rename(file.with_name("other.tsv"))
    assert find_annotated_rows(TASK, ROWS, TEXTS, LABELS) == nothing
    monkeypatch.delenv("FINETUNE_DATA")
    assert find_annotated_rows(TASK, ROWS, TEXTS, LABELS) == nothing


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([("a", "1", "One sings.", "1", "2", "0"), *LINES[1:]], HEADER, "major.tsv:2:N, Adj: '2' is not one of 0, 1"),
        ([*LINES[:3], ("b", "0", "Four sings.", "", "0", "0")], HEADER, "major.tsv:5:Simple: '' is not one of 0, 1"),
        ([*LINES[:3], ("b", "*", "Four sings.", "0", "0", "0")], HEADER, "major.tsv:5:Label: '*' is not one of 0, 1"),
        (LINES[:3], HEADER, "major.tsv: 3 rows, 4 expected"),
        ([*LINES, LINES[0]], HEADER, "major.tsv: 5 rows, 4 expected"),
        (LINES, (*HEADER[:3], "Simpel", *HEADER[4:]), "major.tsv:1: no column 'Simple'; did you mean 'Simpel'?"),
        (LINES, ("Source", "Label", "Text", *HEADER[3:]), "major.tsv:1: no column 'Sentence'"),
    ],
)
def test_wrong_annotations_are_refused_by_file_row_and_column(
    file: Path, lines: list[tuple[str, ...]], header: tuple[str, ...], said: str
) -> None:
    write(file, lines, header)
    with pytest.raises(DataError) as caught:
        find_annotated_rows(TASK, ROWS, TEXTS, LABELS)
    assert str(caught.value) == f"{file.parent}/{said}"


def test_the_books_rows_have_no_annotations() -> None:
    assert get_task("cola-book").annotations is None


@pytest.mark.realdata
def test_cola_has_15_phenomena_and_says_that_4_texts_and_2_labels_differ(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import load_recipe
    from finetune.data import load_data, texts_of
    from finetune.recipe_file import list_recipes

    monkeypatch.setenv("FINETUNE_DATA", str(real_data))
    data = load_data(load_recipe(list_recipes()["cola"]).recipe, get_task("cola"))
    test = data.splits["test"].examples
    labels = [data.label_names[label] for label in test["label"]]
    found = find_annotated_rows(get_task("cola"), list(test["row"]), texts_of(test), labels)
    assert found.notes == ("the phenomenon annotations are joined by row: 4 texts and 2 labels differ from these rows",)
    counts = {name.removeprefix("phenomenon: "): len(positions) for name, positions in found.slices.items()}
    assert len(counts) == 15
    assert (counts["Simple"], counts["Imperative"], counts["N, Adj"], counts["Argument Type"]) == (87, 12, 278, 428)
    assert texts_of(test)[0] == ("The sailors rode the breeze clear of the rocks.",)
    shown = {name for name, positions in found.slices.items() if 0 in positions}
    assert shown == {f"phenomenon: {name}" for name in ("Predicate", "Argument Type", "Arg Altern", "N, Adj")}
