"""finetune.near_duplicates: what a reader would call the same text edited is found, exactly, and work stays bounded."""

import math
from pathlib import Path

import numpy as np
import pytest

from finetune import near_duplicates
from finetune.data_checks import normalise
from finetune.findings import NearDuplicates
from finetune.near_duplicates import find_near_duplicates

Texts = list[tuple[str, ...]]
SENTENCES = (
    "The weights made the rope stretch over the pulley.",
    "The mechanical doll wriggled itself loose.",
    "If you had eaten more, you would want less.",
    "As you eat the most, you want the least.",
    "The more you would want, the less you would eat.",
    "I demand that the more John eats, the more he pays.",
    "Mary listens to the Grateful Dead, she gets depressed.",
    "Who does John visit Sally because he likes?",
    "Marianne did not leave.",
    "He could not have been working.",
)
OTHER = ("Quarterly earnings rose by nine percent",)


def find(train: Texts, test: Texts, wrong: tuple[int, ...] = ()) -> NearDuplicates | None:
    """Return what is found where every label is 0 and the `wrong` test rows are answered with 1."""
    predicted = np.array([int(number in wrong) for number in range(len(test))], dtype=np.int64)
    return find_near_duplicates(
        train,
        [f"train/{number}" for number in range(len(train))],
        ["no"] * len(train),
        test,
        [f"test/{number}" for number in range(len(test))],
        ["no"] * len(test),
        predicted == 0,
    )


def found_in(train: Texts, test: Texts) -> NearDuplicates:
    found = find(train, test)
    assert found is not None
    return found


def pieces_of(texts: tuple[str, ...]) -> set[str]:
    text = f" {normalise(' ⸱ '.join(texts))} "
    return {text[start : start + 4] for start in range(len(text) - 3)}


def slow_similarity(one: tuple[str, ...], other: tuple[str, ...]) -> float:
    """Return the cosine of two sets of pieces, from its definition."""
    first, second = pieces_of(one), pieces_of(other)
    return len(first & second) / math.sqrt(len(first) * len(second)) if first and second else 0.0


def edited_rows(count: int, seed: int) -> Texts:
    """Return sentences with words swapped, dropped and misspelt at random."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = str(generator.choice(SENTENCES)).split()
        for _ in range(generator.integers(0, 4)):
            place = int(generator.integers(len(words)))
            words[place] = str(generator.choice(["", "really", words[place][::-1], words[place].upper(), "John"]))
        rows.append((" ".join(words),))
    return rows


@pytest.mark.parametrize(
    "text",
    [
        "The weights really made the rope stretch over the pulley.",
        "The weights made rope stretch over the pulley.",
        "The wieghts made the rope stretch over the pulley.",
        "The weights made the rope stretch over the pulley!!",
        "The weight made the robe stretch over the pulley.",
    ],
    ids=["a word added", "a word dropped", "a typo", "punctuation", "two letters changed"],
)
def test_one_edit_makes_a_near_duplicate(text: str) -> None:
    found = found_in([OTHER, (SENTENCES[0],)], [(text,)])
    assert (found.count, found.rows) == (1, ["test/0"])
    assert found.examples[0].train_text == SENTENCES[0]
    assert 0.8 <= found.examples[0].similarity < 1


def test_another_name_makes_a_near_duplicate() -> None:
    found = found_in([OTHER, (SENTENCES[6],)], [(SENTENCES[6].replace("Mary", "Susan"),)])
    assert found.rows == ["test/0"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SENTENCES[2], SENTENCES[3]),
        ("John is afraid of Bill.", "John is afraid of dogs."),
        ("The dog bit the man in the garden.", "In the garden a man was seen by the dog."),
        ("OK", "ok."),
        ("", "x"),
    ],
)
def test_one_pattern_with_other_words_is_none(one: str, other: str) -> None:
    found = found_in([(one,)], [(other,)])
    assert (found.looked_at, found.count, found.rows, found.examples) == (1, 0, [], [])


def test_the_order_of_words_counts() -> None:
    found = found_in([("the dog bites the man and the cat",)], [("the cat bites the man and the dog",)])
    assert found.count == 1
    assert found.examples[0].similarity < 1


def test_similarities_and_nearest_rows_equal_their_definition() -> None:
    train, test = edited_rows(60, seed=1), edited_rows(40, seed=2)
    found = find(train, test)
    assert found is not None
    seen = {normalise(text) for (text,) in train}
    best = {
        number: max(slow_similarity(row, other) for other in train)
        for number, row in enumerate(test)
        if normalise(row[0]) not in seen
    }
    near = [number for number, similarity in best.items() if similarity >= 0.8]
    assert 10 < len(near) < len(best) < len(test)
    assert found.rows == [f"test/{number}" for number in near]
    for example in found.examples:
        number, other = int(example.row.split("/")[1]), int(example.train_row.split("/")[1])
        assert (example.text, example.train_text) == (test[number][0], train[other][0])
        assert example.similarity == pytest.approx(best[number], abs=1e-6)
        assert slow_similarity(test[number], train[other]) == pytest.approx(best[number], abs=1e-6)


def test_a_row_whose_text_stands_in_train_is_no_near_duplicate_whatever_else_it_is_like() -> None:
    train = [(SENTENCES[0],), (SENTENCES[0].replace("made", "had"),)]
    copy, near = (f"  {SENTENCES[0].upper()} ",), (SENTENCES[0].replace("made", "let"),)
    found = found_in(train, [copy, near])
    assert found.rows == ["test/1"]
    assert found.looked_at == 2


def test_only_right_answers_are_shown_most_alike_first_and_wrong_ones_are_counted() -> None:
    test = [(f"{SENTENCES[0]} {'yes ' * (number + 1)}{'x' * number}",) for number in range(14)]
    found = find([(SENTENCES[0],)], test, wrong=(0, 3))
    assert found is not None
    near = [number for number, row in enumerate(test) if slow_similarity(row, (SENTENCES[0],)) >= 0.8]
    assert {0, 3} < set(near)
    assert (found.count, found.correct) == (len(near), len(near) - 2)
    assert found.rows == [f"test/{number}" for number in near]
    shown = [example.row for example in found.examples]
    assert len(shown) == min(10, len(near) - 2)
    assert not {"test/0", "test/3"} & set(shown)
    similarities = [example.similarity for example in found.examples]
    assert similarities == sorted(similarities, reverse=True)


def test_an_example_names_both_labels() -> None:
    found = find_near_duplicates(
        [(SENTENCES[0],)],
        ["train/0"],
        ["yes"],
        [(SENTENCES[0] + "..",)],
        ["test/0"],
        ["no"],
        np.array([True]),
    )
    assert found is not None
    assert (found.examples[0].expected, found.examples[0].train_label) == ("no", "yes")


def test_where_answers_are_not_right_or_wrong_all_near_rows_are_shown() -> None:
    found = find_near_duplicates([(SENTENCES[0],)], ["train/0"], [""], [(SENTENCES[0] + "..",)], ["test/0"], [""], None)
    assert found is not None
    assert (found.count, found.correct, len(found.examples)) == (1, None, 1)


def test_a_pair_is_compared_as_a_whole() -> None:
    train: Texts = [(SENTENCES[0], SENTENCES[1])]
    same_first = (SENTENCES[0], "Quarterly earnings rose by nine percent in May.")
    edited = (SENTENCES[0], SENTENCES[1].replace("loose", "free"))
    shifted = (f"{SENTENCES[0]} {SENTENCES[1]}", "")
    found = found_in(train, [same_first, edited, (SENTENCES[0], SENTENCES[1]), shifted])
    assert found.rows == ["test/1", "test/3"]
    assert found.examples[0].train_text == f"{SENTENCES[0]} ⸱ {SENTENCES[1]}"


def test_without_train_or_with_copies_alone_there_is_nothing_to_say() -> None:
    rows: Texts = [(SENTENCES[0],)]
    assert find([], rows) is None
    assert find(rows, []) is None
    assert find(rows, [(SENTENCES[0].lower(),)]) is None
    assert find(rows, [("",)]) is not None


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = edited_rows(50, seed=3), edited_rows(30, seed=4)
    whole = find(train, test)
    monkeypatch.setattr(near_duplicates, "TRAIN_ROWS_A_BLOCK", 7)
    monkeypatch.setattr(near_duplicates, "TEST_ROWS_A_BLOCK", 4)
    assert whole is not None and whole.count > 5
    assert find(train, test) == whole


@pytest.mark.parametrize("limit", [0, 900, 2000, 5000])
def test_multiplications_are_counted_exactly_and_rows_beyond_them_not_looked_at(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    train, test = edited_rows(20, seed=5), edited_rows(30, seed=6)
    costs = [sum(len(pieces_of(row) & pieces_of(other)) for other in train) for row in test]
    order = np.random.default_rng(0).permutation(len(test))
    expected = int(np.searchsorted(np.cumsum([costs[number] for number in order]), limit, side="right"))
    assert expected < len(test) or limit >= sum(costs)
    whole = found_in(train, test)
    monkeypatch.setattr(near_duplicates, "MULTIPLICATIONS", limit)
    monkeypatch.setattr(near_duplicates, "TEST_ROWS_A_BLOCK", 4)
    found = found_in(train, test)
    assert found.looked_at == expected
    looked_at = {f"test/{number}" for number in order[:expected]}
    assert found.rows == [row for row in whole.rows if row in looked_at]


def test_of_many_train_rows_some_are_drawn_and_the_measure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    train = [(sentence,) for sentence in SENTENCES]
    test = [(f"{sentence} Really.",) for sentence in SENTENCES]
    assert found_in(train, test).count == len(SENTENCES)
    assert "train rows" not in found_in(train, test).measure
    monkeypatch.setattr(near_duplicates, "TRAIN_ROWS", 4)
    found = found_in(train, test)
    assert (found.count, found.looked_at) == (4, 10)
    assert "4 of 10 train rows, drawn with seed 0" in found.measure
    # Copies are known by all of train, drawn or not.
    assert found_in(train, [*train, *test]).rows == [f"test/{int(row.split('/')[1]) + 10}" for row in found.rows]


def test_of_many_test_rows_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "TEST_ROWS", 3)
    found = found_in([(sentence,) for sentence in SENTENCES], [(f"{sentence} Really.",) for sentence in SENTENCES])
    assert (found.looked_at, found.count) == (3, 3)
    assert found.rows == sorted(found.rows)


def test_of_long_texts_both_ends_are_compared_and_the_measure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    start, end = " ".join(SENTENCES[:3]), " ".join(SENTENCES[3:6])
    middle = " ".join(f"word{number}" for number in range(80))
    test = [(f"{start} {middle} {end}",), (f"{start} {middle} {middle}",)]
    train: Texts = [(f"{start} {end}",)]
    assert found_in(train, test).count == 0
    assert "first and last" not in found_in(train, test).measure
    monkeypatch.setattr(near_duplicates, "CHARACTERS", 1000)
    found = found_in(train, test)
    assert found.rows == ["test/0"]
    assert "of texts longer than 200 characters the first and last 100" in found.measure


def test_the_measure_states_the_limit() -> None:
    assert "at least 0.80" in found_in([(SENTENCES[0],)], [OTHER]).measure


@pytest.mark.realdata
def test_cola_has_180_rows_that_are_nearly_train_rows(real_data: Path) -> None:
    def read(name: str) -> Texts:
        lines = (real_data / "cola" / name).read_text(encoding="utf-8").split("\n")
        return [(line.split("\t")[3],) for line in lines if line]

    found = found_in(read("in_domain_train.tsv"), read("in_domain_dev.tsv") + read("out_of_domain_dev.tsv"))
    assert (found.looked_at, found.count) == (1043, 180)
    pairs = {(example.text, example.train_text) for example in found.examples}
    assert (
        "Rusty talked about himself only after Mary did talk about him.",
        "Rusty talked about himself only after Mary did talk about himself.",
    ) in pairs
