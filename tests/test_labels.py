"""Labels: ids that never depend on the order of rows, and one line for a label that isn't one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.errors import DataError, SettingError
from finetune.labels import (
    MAXIMUM_CLASSES,
    Labels,
    LabelSet,
    NumberLabels,
    SeveralLabels,
    build_label_set,
    build_labels,
)
from finetune.recipe import Recipe
from finetune.task import Layout, get_task

OPEN = LabelSet({}, is_open=True)


def check(label_set: LabelSet, *cells: str) -> LabelSet:
    return label_set.check(cells, list(range(2, len(cells) + 2)), Path("rows.csv"), "label")


def build(labels: object, task: str = "text-classification") -> LabelSet:
    values = {"task": task, "model": {"checkpoint": "./m"}, "data": {"labels": labels}}
    return build_label_set(Recipe.model_validate(values), get_task(task))


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        (["spam", "ham", "spam"], ("ham", "spam")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["4.0", "10.0"], ("10.0", "4.0")),
        (["NA", "null", "no"], ("NA", "no", "null")),
        ([" b", "a", "b"], (" b", "a", "b")),
    ],
)
def test_labels_found_in_data_are_sorted_as_numbers_where_all_are(cells: list[str], names: tuple[str, ...]) -> None:
    assert check(OPEN, *cells).freeze().names == names


@given(st.sets(st.text(min_size=1, max_size=3) | st.sampled_from(["1", "01", "+1", "١"]), min_size=1), st.randoms())
def test_ids_do_not_depend_on_the_order_of_rows(labels: set[str], random: object) -> None:
    shuffled = sorted(labels)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert check(OPEN, *shuffled).freeze() == check(OPEN, *sorted(labels)).freeze()


def test_labels_of_one_number_keep_one_order() -> None:
    assert check(OPEN, "1", "01").freeze().names == check(OPEN, "01", "1").freeze().names == ("01", "1")


def test_a_stated_list_gives_the_order_of_ids() -> None:
    stated = build(["spam", "ham"])
    assert stated.names == ("spam", "ham")
    assert stated.ids_of(["ham", "spam"]) == [1, 0]


def test_stated_names_replace_what_stands_in_the_file() -> None:
    stated = build({"1": "good", "0": "bad", "2": "good"})
    assert stated.names == ("good", "bad")
    assert stated.ids_of(["0", "1", "2"]) == [1, 0, 0]


def test_labels_of_the_recipe_come_before_those_of_the_task() -> None:
    assert build(None, "cola").names == ("unacceptable", "acceptable")
    assert build({"0": "bad", "1": "good"}, "cola").names == ("bad", "good")
    assert build(None).is_open


def test_labels_grow_over_the_chunks_of_train_and_are_final_afterwards() -> None:
    grown = check(check(OPEN, "b"), "a").freeze()
    assert grown.names == ("a", "b")
    with pytest.raises(DataError, match=r"^rows\.csv:3:label: label 'c' is not one of a, b$"):
        check(grown, "a", "c")


def test_a_label_out_of_range_names_its_row_and_the_nearest_label() -> None:
    with pytest.raises(DataError) as caught:
        check(build(["positive", "negative"]), "positive", "Positve")
    assert str(caught.value) == (
        "rows.csv:3:label: label 'Positve' is not one of positive, negative; did you mean 'positive'?"
    )


@pytest.mark.parametrize("label_set", [OPEN, LabelSet({"a": "a", "b": "b"}, is_open=True)])
def test_an_empty_label_is_called_empty(label_set: LabelSet) -> None:
    with pytest.raises(DataError, match=r"^rows\.csv:3:label: the label is empty$"):
        check(label_set, "a", "")


def test_a_text_in_the_label_column_is_shown_short_and_on_one_line() -> None:
    with pytest.raises(DataError) as caught:
        check(build(["a", "b"]), "a", "a text\nof two lines " * 50)
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


def test_an_empty_label_may_be_given_a_name() -> None:
    stated = build({"": "none", "x": "some"})
    assert check(stated, "", "x").ids_of(["x", ""]) == [1, 0]


def test_a_column_of_texts_is_not_taken_for_labels() -> None:
    with pytest.raises(DataError, match=r"column 'label' has more than 1000 different values; is it the label\?"):
        check(OPEN, *map(str, range(MAXIMUM_CLASSES + 1)))


# Numbers, several labels at once, and none


def check_kind(labels: Labels, *cells: str) -> Labels:
    return labels.check(cells, list(range(2, len(cells) + 2)), Path("rows.csv"), "score")


def build_kind(task: str, layout: Layout, **data: object) -> Labels:
    recipe = Recipe.model_validate({"task": task, "model": {"checkpoint": "./m"}, "data": data})
    return build_labels(recipe, get_task(task), layout)


def test_numbers_are_read_as_they_are_written() -> None:
    cells = ["4.5", "-0", "1e-3", " 3 ", "+2", "007"]
    labels = check_kind(NumberLabels(), *cells).freeze()
    assert labels.names == ()
    assert labels.values([cells]).to_pylist() == [4.5, 0.0, 0.001, 3.0, 2.0, 7.0]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_comes_back(number: float) -> None:
    assert check_kind(NumberLabels(), repr(number)).values([[repr(number)]]).to_pylist() == [number]


@pytest.mark.parametrize("cell", ["high", "1,5", "nan", "inf", "1_000", "0x10", "4.5/5"])
def test_a_label_that_is_text_is_no_number(cell: str) -> None:
    with pytest.raises(DataError) as caught:
        check_kind(NumberLabels(), "1", cell)
    assert str(caught.value) == f"rows.csv:3:score: label '{cell}' is not a number"


@pytest.mark.parametrize("cell", ["", " "])
def test_an_empty_number_is_called_empty(cell: str) -> None:
    with pytest.raises(DataError, match=r"^rows\.csv:3:score: the label is empty$"):
        check_kind(NumberLabels(), "1", cell)


def test_several_labels_are_columns_of_0_and_1() -> None:
    labels = check_kind(SeveralLabels(("a", "b", "c")), "0", "1").freeze()
    columns = [["0", "1"], ["1", "1"], ["0", "0"]]
    values = labels.values(columns)
    assert str(values.type) == "list<item: int8>"
    assert values.to_pylist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("cell", ["", "2", "true", "1.0", "x", " 1"])
def test_a_label_of_several_is_0_or_1_and_nothing_else(cell: str) -> None:
    with pytest.raises(DataError) as caught:
        check_kind(SeveralLabels(("a",)), "1", cell)
    assert str(caught.value) == f"rows.csv:3:score: found '{cell}', a label that holds is 1, another 0"


def test_several_labels_are_named_by_their_columns_or_by_the_recipe() -> None:
    layout = Layout("text", labels=("4", "5"))
    assert build_kind("multilabel", layout).names == ("4", "5")
    assert build_kind("multilabel", layout, labels=["question", "negation"]).names == ("question", "negation")
    with pytest.raises(SettingError, match=r"^data\.labels: 3 names, but data\.columns\.labels has 2$"):
        build_kind("multilabel", layout, labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("task", "kind", "names"),
    [
        ("text-classification", LabelSet, ()),
        ("cola", LabelSet, ("unacceptable", "acceptable")),
        ("regression", NumberLabels, ()),
        ("masked-lm", LabelSet, ()),
        ("causal-lm", LabelSet, ()),
        ("nsp", LabelSet, ("IsNext", "NotNext")),
        ("wikitext2-pretraining", LabelSet, ("IsNext", "NotNext")),
        ("blimp", LabelSet, ("first", "second")),
    ],
)
def test_the_objective_decides_what_a_label_is(task: str, kind: type, names: tuple[str, ...]) -> None:
    found = build_kind(task, Layout("text"))
    assert type(found) is kind
    assert found.names == names
