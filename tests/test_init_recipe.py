"""A first recipe for a file: the right columns, said why, and a recipe that loads with its rows."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from finetune.data import TaskData, load_data
from finetune.errors import DataError, FinetuneError, MissingInputError
from finetune.init_recipe import Guess, guess_recipe, render_recipe
from finetune.recipe_file import load_recipe
from finetune.task import get_task
from tests.tiny import build_sentences, write_cola_like, write_rows

ROWS = build_sentences(60)


def write(path: Path, rows: list[tuple[str, ...]], separator: str = ",") -> Path:
    path.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load_written(guess: Guess, folder: Path) -> TaskData:
    """Write the recipe of a guess into a folder and return the rows that it loads."""
    path = folder / "first.yaml"
    path.write_text(render_recipe(guess, "google-bert/bert-base-uncased", folder), encoding="utf-8")
    recipe = load_recipe(path).recipe
    return load_data(recipe, get_task(recipe.task))


def rows_loaded(data: TaskData) -> set[tuple[str, str]]:
    """Return each text with the name of its label."""
    return {
        (text, data.label_names[label])
        for split in data.splits.values()
        for text, label in zip(split.examples["text"], split.examples["label"], strict=True)
    }


def test_a_csv_file_with_a_header(own_file: Path) -> None:
    guess = guess_recipe(own_file)
    assert (*guess.columns.values(), guess.has_header, guess.delimiter) == ("text", "label", True, None)
    assert guess.labels == ("acceptable", "unacceptable")
    data = load_written(guess, own_file.parent)
    assert rows_loaded(data) == set(build_sentences(200))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_file_with_another_separator(work: Path, separator: str) -> None:
    path = write(work / "rows.csv", [("verdict", "body"), *((label, text) for text, label in ROWS)], separator)
    guess = guess_recipe(path)
    assert (*guess.columns.values(), guess.has_header, guess.delimiter) == ("body", "verdict", True, separator)
    assert rows_loaded(load_written(guess, work)) == set(ROWS)


def test_the_four_columns_of_cola_without_a_header(work: Path) -> None:
    path = write_cola_like(work) / "cola" / "in_domain_train.tsv"
    # The first line has an empty mark, which a header could not have.
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)))
    guess = guess_recipe(path)
    assert (*guess.columns.values(), guess.has_header) == ("4", "2", False)
    assert guess.labels == ("0", "1")
    assert guess.reasons[2] == "the first line is data: columns are numbers"
    data = load_written(guess, work)
    names = {"acceptable": "1", "unacceptable": "0"}
    assert rows_loaded(data) == {(text, names[label]) for text, label in build_sentences(640)}


@pytest.mark.parametrize("suffix", [".tsv", ".csv"])
def test_words_for_labels_without_a_header_and_with_a_short_first_line(work: Path, suffix: str) -> None:
    rows = [
        ("ham", "Hello there"),
        ("spam", "Win now"),
        *((("ham", "spam")[n % 2], f"Text number {n}") for n in range(40)),
    ]
    guess = guess_recipe(write(work / f"rows{suffix}", rows, "\t" if suffix == ".tsv" else ","))
    assert (*guess.columns.values(), guess.has_header) == ("2", "1", False)
    data = load_written(guess, work)
    assert ("Hello there", "ham") in rows_loaded(data)


def test_a_jsonl_file(work: Path) -> None:
    rows = [{"id": n, "review": text, "stars": n % 5, "checked": None} for n, (text, _) in enumerate(ROWS)]
    (work / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    guess = guess_recipe(work / "rows.jsonl")
    assert (*guess.columns.values(), guess.has_header) == ("review", "stars", True)
    assert load_written(guess, work).label_names == ("0", "1", "2", "3", "4")


def test_a_parquet_file(work: Path) -> None:
    columns = {"sentence": [text for text, _ in ROWS], "class": [label == "acceptable" for _, label in ROWS]}
    pyarrow.parquet.write_table(pyarrow.table(columns), work / "rows.parquet")
    guess = guess_recipe(work / "rows.parquet")
    assert tuple(guess.columns.values()) == ("sentence", "class")
    assert load_written(guess, work).label_names == ("false", "true")


def test_a_column_called_label_comes_before_one_with_fewer_values(work: Path) -> None:
    rows = [
        ("lang", "topic", "text"),
        *(("en" if n % 3 else "de", f"topic {n % 4}", text) for n, (text, _) in enumerate(ROWS)),
    ]
    assert guess_recipe(write(work / "rows.csv", rows)).columns["label"] == "topic"


def test_a_column_with_empty_cells_is_not_a_label(work: Path) -> None:
    rows = [("flag", "kind", "text"), *(("x" if n % 2 else "", "abc"[n % 3], text) for n, (text, _) in enumerate(ROWS))]
    guess = guess_recipe(write(work / "rows.csv", rows))
    assert guess.columns["label"] == "kind"
    assert load_written(guess, work).label_names == ("a", "b", "c")


def test_every_guess_is_said(own_file: Path) -> None:
    text, label, header = guess_recipe(own_file).reasons
    assert text.startswith("'text' is the text: ") and text.endswith(" characters on average")
    assert label == "'label' is the label: 2 different values in 200 rows (acceptable, unacceptable)"
    assert header == "the first line names the columns"


@pytest.mark.parametrize(
    "names", [("sentence1", "sentence2"), ("text_A", "text_B"), ("Premise", "hypothesis"), ("question", "answer")]
)
def test_two_texts_whose_names_belong_together_are_a_pair(work: Path, names: tuple[str, str]) -> None:
    rows = [
        ("id1", "id2", *names, "label"),
        *((f"{n}", f"{n}x", text, text[::-1], label) for n, (text, label) in enumerate(ROWS)),
    ]
    guess = guess_recipe(write(work / "rows.tsv", rows, "\t"))
    assert guess.task == "pair-classification"
    assert guess.columns == {"text": names[0], "text_pair": names[1], "label": "label"}
    assert guess.reasons[0].startswith(f"'{names[0]}' and '{names[1]}' are a pair: ")
    data = load_written(guess, work)
    assert data.splits["train"].examples.column_names[:2] == ["text", "text_pair"]


def test_numbers_that_are_not_whole_are_learnt_as_numbers(work: Path) -> None:
    rows = [
        ("genre", "text", "similarity_score"),
        *(("ab"[n % 2], text, f"{n / 8}") for n, (text, _) in enumerate(ROWS)),
    ]
    guess = guess_recipe(write(work / "rows.csv", rows))
    assert (guess.task, guess.columns) == ("regression", {"text": "text", "label": "similarity_score"})
    assert guess.reasons[1] == "'similarity_score' is the number to learn: 0 to 7.375"
    assert load_written(guess, work).record.splits[0].highest is not None
    rows = [("text", "label"), *((text, f"{n / 8}") for n, (text, _) in enumerate(ROWS))]
    assert guess_recipe(write(work / "rows.csv", rows)).task == "regression"


def test_whole_numbers_written_with_a_point_are_classes(work: Path) -> None:
    rows = [("text", "label"), *((text, f"{n % 3}.0") for n, (text, _) in enumerate(ROWS))]
    guess = guess_recipe(write(work / "rows.csv", rows))
    assert (guess.task, guess.labels) == ("text-classification", ("0.0", "1.0", "2.0"))


def test_columns_of_0_and_1_are_a_label_each(work: Path) -> None:
    rows = [
        ("", "comment", "rude", "funny", "odd"),
        *((f"{n}", text, f"{n % 2}", f"{n % 3 // 2}", f"{n % 5 // 4}") for n, (text, _) in enumerate(ROWS)),
    ]
    guess = guess_recipe(write(work / "rows.csv", rows))
    assert (guess.task, guess.columns) == ("multilabel", {"text": "comment", "labels": ["rude", "funny", "odd"]})
    assert guess.reasons[1] == "3 columns of 0 and 1 are a label each: 'rude', 'funny', 'odd'"
    assert load_written(guess, work).label_names == ("rude", "funny", "odd")
    rows[0] = ("", "comment", "label", "funny", "odd")
    assert guess_recipe(write(work / "rows.csv", rows)).task == "text-classification"


def test_texts_alone_are_for_masked_language_modelling(work: Path) -> None:
    path = work / "rows.txt"
    path.write_text("".join(f"A line\nand its end {n}.\n\n" for n in range(30)))
    guess = guess_recipe(path)
    assert (guess.task, guess.columns, guess.documents) == ("masked-lm", {}, "paragraph")
    assert guess.reasons == (
        "texts without labels: masked language modelling",
        "a document is a paragraph: 30 of the first 90 lines are blank",
    )
    assert "columns" not in render_recipe(guess, "a/b", work)
    data = load_written(guess, work)
    assert sum(split.rows for split in data.record.splits) == 30


@pytest.mark.parametrize(
    "names", [("text: a", "- label"), ("null", "true"), ("#text", "la'bel"), ("te xt", "{label}"), ("1.5", "étiquette")]
)
def test_names_that_mean_something_in_yaml_come_through(work: Path, names: tuple[str, str]) -> None:
    guess = guess_recipe(write(work / "rows.csv", [names, *ROWS]))
    assert tuple(guess.columns.values()) == names
    assert rows_loaded(load_written(guess, work)) == set(ROWS)


@pytest.mark.parametrize("name", ["my rows.csv", "a: b.csv", "#1.csv", "rows é.csv", "two\nlines.csv"])
def test_a_file_of_any_name_is_found_by_its_recipe(work: Path, name: str) -> None:
    assert len(rows_loaded(load_written(guess_recipe(write_rows(work / name, 40)), work))) == 40


def test_a_recipe_names_its_file_relatively_so_that_both_can_move(own_file: Path) -> None:
    guess = guess_recipe(own_file)
    assert "\n  path: rows.csv\n" in render_recipe(guess, "a/b", own_file.parent)
    elsewhere = own_file.parent / "recipes"
    assert "\n  path: ../rows.csv\n" in render_recipe(guess, "a/b", elsewhere)
    elsewhere.mkdir()
    assert len(rows_loaded(load_written(guess, elsewhere))) == 200


@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (
            [("text", "key"), *((text, str(n)) for n, (text, _) in enumerate(ROWS))],
            DataError,
            "no column looks like a label of 2 to 50 classes; found key (60 values). Write the recipe by hand",
        ),
        ([("text",), *((text,) for text, _ in ROWS)], DataError, "found none beside the text"),
        ([("text", "label"), *((text, "spam") for text, _ in ROWS)], DataError, "found label (1 values)"),
        ([("text", "label")], DataError, "no rows, only column names"),
        ([], DataError, "no rows, the file is empty"),
        ([("text", "", "label"), *((a, "x", b) for a, b in ROWS)], DataError, "column 2 has no name"),
        ([("text", "label"), ("a", "b", "c")], DataError, "2: 3 cells, 2 expected"),
        (None, MissingInputError, "no such file"),
    ],
)
def test_a_file_that_can_not_be_guessed_is_one_line(
    work: Path, rows: list[tuple[str, ...]] | None, kind: type[FinetuneError], message: str
) -> None:
    path = work / "rows.csv"
    if rows is not None:
        write(path, rows)
    with pytest.raises(kind) as caught:
        guess_recipe(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")
    assert "\n" not in str(caught.value)


def test_the_command_writes_a_recipe_that_checks(finetune: Callable, work: Path, own_file: Path) -> None:
    done = finetune("init", str(own_file))
    assert done.returncode == 0, done.stderr
    assert "guessed: 'label' is the label" in done.stdout
    recipe = load_recipe(work / "recipes" / "rows.yaml").recipe
    assert len(rows_loaded(load_data(recipe, get_task(recipe.task)))) == 200


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "text", "label", "has_header"),
    [
        ("cola/in_domain_train.tsv", "4", "2", False),
        ("cola/out_of_domain_dev.tsv", "4", "2", False),
        ("sms_spam/sms_spam.tsv", "text", "label", True),
        ("hate_offensive/labeled_data.csv", "tweet", "class", True),
    ],
)
def test_columns_of_published_files_are_guessed_right(
    real_data: Path, work: Path, name: str, text: str, label: str, has_header: bool
) -> None:
    guess = guess_recipe(real_data / name)
    assert (*guess.columns.values(), guess.has_header) == (text, label, has_header)
    assert load_written(guess, work).record.splits[0].rows > 100
