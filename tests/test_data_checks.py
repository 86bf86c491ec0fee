"""What is said of rows before a score is trusted: counts, leaks, and one fingerprint for one content."""

import hashlib

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.data_checks import (
    build_split_record,
    describe_rows,
    find_shared_rows,
    fingerprint,
    hash_row,
    label_texts,
    normalise,
)
from finetune.records import DataRecord

NAMES = ("no", "yes")


def rows_of(*rows: tuple[str, int], pairs: list[str] | None = None, part: str = "train") -> Dataset:
    columns = {
        "row": [f"{part}/{number}" for number in range(len(rows))],
        "text": [text for text, _ in rows],
        "label": [label for _, label in rows],
    }
    return Dataset.from_dict(columns | ({} if pairs is None else {"text_pair": pairs}))


def test_a_record_counts_rows_labels_duplicates_contradictions_and_empty_texts() -> None:
    rows = rows_of(
        ("One.", 0), ("one. ", 1), ("ONE.", 1), ("Two.", 1), ("two.", 1), ("", 0), (" \t\u3000", 0), ("x", 0)
    )
    record = build_split_record("train", rows, "rows.csv", ("no", "yes", "never"))
    assert (record.part, record.origin, record.rows) == ("train", "rows.csv", 8)
    assert record.labels == {"no": 4, "yes": 4, "never": 0}
    assert record.duplicates == 4
    assert record.contradictions == 1
    assert record.empty == 2
    assert record.truncated is None


def test_pairs_are_equal_only_where_both_texts_are() -> None:
    rows = rows_of(("a", 0), ("a", 1), ("A", 1), ("b", 0), pairs=["x", "y", "X ", "x"])
    record = build_split_record("train", rows, "rows.csv", NAMES)
    assert (record.duplicates, record.contradictions) == (1, 1)


def test_a_pair_is_not_the_same_as_its_texts_shifted() -> None:
    rows = rows_of(("ab", 0), ("a", 0), pairs=["c", "bc"])
    assert build_split_record("train", rows, "rows.csv", NAMES).duplicates == 0


def test_shared_rows_are_named_by_their_own_row() -> None:
    train = rows_of(("The Dog  barks.", 0), ("a cat", 1))
    test = rows_of(("a bird", 0), ("the dog barks.", 1), ("A cat", 0), part="test")
    assert find_shared_rows(train, test) == ["test/1", "test/2"]


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        ("A b", "a  B ", True),
        ("stra\u00dfe", "STRASSE", True),
        ("a\u2003b", "a b", True),
        ("a b", "ab", False),
        ("a.", "a", False),
        ("e\u0301", "\u00e9", False),
    ],
)
def test_equal_texts_differ_only_in_case_and_white_space(one: str, other: str, is_equal: bool) -> None:
    assert (normalise(one) == normalise(other)) is is_equal


def test_a_fingerprint_is_sha256_over_one_json_line_a_row() -> None:
    lines = '[["a \\"q\\" é"],"no"]\n[[" NA "],"yes"]\n'
    rows = rows_of(('a "q" é', 0), (" NA ", 1))
    assert fingerprint(rows, NAMES) == hashlib.sha256(lines.encode()).hexdigest()
    pairs = rows_of(("a", 0), pairs=["b"])
    assert fingerprint(pairs, NAMES) == hashlib.sha256(b'[["a","b"],"no"]\n').hexdigest()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
some_rows = st.lists(st.tuples(texts, st.integers(0, 1)), min_size=1, max_size=6)


@given(some_rows, some_rows)
@settings(max_examples=60, deadline=None)
def test_fingerprints_are_equal_exactly_where_rows_are(one: list, other: list) -> None:
    assert (fingerprint(rows_of(*one), NAMES) == fingerprint(rows_of(*other), NAMES)) is (one == other)


def test_a_fingerprint_speaks_of_label_names_not_of_ids() -> None:
    assert fingerprint(rows_of(("a", 0)), ("no", "yes")) == fingerprint(rows_of(("a", 1)), ("yes", "no"))


# Numbers, several labels, none


def rows_with(labels: list | None) -> Dataset:
    texts = ["One.", "one.", "Two."]
    columns: dict[str, list] = {"row": [f"train/{number}" for number in range(3)], "text": texts}
    return Dataset.from_dict(columns | ({} if labels is None else {"label": labels}))


KINDS = [
    (
        rows_with([1, 0, 1]),
        NAMES,
        ["yes", "no", "yes"],
        "3 rows (no 1, yes 2); 1 duplicates, 1 texts with several labels, ",
    ),
    (rows_with([4.5, 1.0, 0.1]), (), ["4.5", "1.0", "0.1"], "3 rows (0.1 to 4.5, mean 1.87); 1 duplicates, "),
    (rows_with([[1, 0], [1, 1], [0, 0]]), NAMES, ["no", "no + yes", ""], "3 rows (no 2, yes 1); 1 duplicates, "),
    (rows_with(None), (), ["", "", ""], "3 rows; 1 duplicates, "),
]


@pytest.mark.parametrize(("rows", "names", "words", "description"), KINDS)
def test_every_kind_of_label_is_described_in_its_own_way(
    rows: Dataset, names: tuple[str, ...], words: list[str], description: str
) -> None:
    assert label_texts(rows, names) == words
    split = build_split_record("train", rows, "rows.csv", names)
    record = DataRecord(
        task="t", source="", licence="", labels=list(names), splits=[split],
        shared_with_train=[], dropped_train_rows=0, selection="",
    )  # fmt: skip
    assert describe_rows(record) == [f"train: {description}0 empty"]


def test_numbers_have_an_extent_and_no_contradictions() -> None:
    record = build_split_record("train", rows_with([4.5, 1.0, 0.1]), "rows.csv", ())
    assert (record.lowest, record.mean, record.highest) == (0.1, pytest.approx(5.6 / 3), 4.5)
    assert (record.labels, record.contradictions) == ({}, None)


@pytest.mark.parametrize(("rows", "names", "words", "description"), KINDS)
def test_a_fingerprint_speaks_of_every_kind_of_label_in_words(
    rows: Dataset, names: tuple[str, ...], words: list[str], description: str
) -> None:
    lines = "".join(f'[["{text}"],"{label}"]\n' for text, label in zip(rows["text"], words, strict=True))
    assert fingerprint(rows, names) == hashlib.sha256(lines.encode()).hexdigest()
    assert hash_row(["One."], words[0]) == hashlib.sha256(f'[["One."],"{words[0]}"]'.encode()).hexdigest()[:16]
