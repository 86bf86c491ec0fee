"""Pairs for next-sentence prediction: exactly half are neighbours, and a stranger comes from a document of another text."""

from collections import Counter

import pytest
from datasets import Dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from finetune.errors import DataError
from finetune.next_sentence import IS_NEXT, NOT_NEXT, build_sentence_pairs, join_spans
from finetune.sentences import split_sentences

SENTENCES = st.lists(st.sampled_from(["A dog sees.", "A cat hears.", "Birds never sing.", "It rains.", "a  Dog sees."]))
NUMBERED = [f"This is sentence {number} of a long story." for number in range(2000)]


def as_documents(texts: list[str]) -> Dataset:
    return Dataset.from_dict({"row": [f"train/{number}" for number in range(len(texts))], "text": texts})


def write_documents(count: int, sentences: int = 10) -> Dataset:
    """Return documents whose sentences all differ, and tell where they stand."""
    return as_documents([" ".join(f"This is line {n} of story {d}." for n in range(sentences)) for d in range(count)])


def pairs_of(documents: Dataset, seed: int = 0) -> Dataset:
    return build_sentence_pairs(documents, "next_sentence", seed, part="train")


@pytest.mark.parametrize(("count", "sentences"), [(2, 2), (2, 3), (7, 10), (31, 4)])
def test_exactly_half_of_the_pairs_are_neighbours(count: int, sentences: int) -> None:
    labels = Counter(pairs_of(write_documents(count, sentences))["label"])
    pairs = count * (sentences - 1)
    assert labels[NOT_NEXT] == pairs // 2
    assert labels[IS_NEXT] == pairs - pairs // 2


@settings(deadline=None, max_examples=100)
@given(documents=st.lists(SENTENCES.map(" ".join), min_size=2, max_size=6), seed=st.integers(0, 5))
def test_neighbours_follow_and_strangers_never_do(documents: list[str], seed: int) -> None:
    try:
        pairs = pairs_of(as_documents(documents), seed)
    except DataError:
        assume(False)
    texts = {f"train/{number}": text for number, text in enumerate(documents)}
    folded = {row: " ".join(text.casefold().split()) for row, text in texts.items()}
    sentences = {row: split_sentences(text) for row, text in texts.items()}
    assert abs(2 * sum(pairs["label"]) - len(pairs)) <= 1
    firsts: Counter[str] = Counter()
    for row, text, other, label in zip(pairs["group"], pairs["text"], pairs["text_pair"], pairs["label"], strict=True):
        place = firsts[row]
        firsts[row] += 1
        assert text == sentences[row][place]
        successor = sentences[row][place + 1]
        if label == IS_NEXT:
            assert other == successor
        else:
            assert other.casefold().split() != successor.casefold().split()
            assert any(other in sentences[owner] and folded[owner] != folded[row] for owner in texts)
    # Each sentence but the last of its document was first once.
    assert firsts == Counter({row: len(found) - 1 for row, found in sentences.items() if len(found) > 1})


def test_copies_of_a_document_are_no_strangers() -> None:
    story, other = "One fish. Two fish. Red fish.", "It rains. It snows. It hails."
    for seed in range(20):
        pairs = pairs_of(as_documents([story, other, story.upper(), f" {story}"]), seed)
        for row, second, label in zip(pairs["group"], pairs["text_pair"], pairs["label"], strict=True):
            assert label == IS_NEXT or ("fish" in second.lower()) == (row == "train/1")


def test_strangers_are_drawn_uniformly_from_all_sentences_of_other_documents() -> None:
    others = ["It rains. It snows. It hails.", "Nothing more."]
    pairs = pairs_of(as_documents([" ".join(NUMBERED), *others]))
    drawn = Counter(
        second
        for row, second, label in zip(pairs["group"], pairs["text_pair"], pairs["label"], strict=True)
        if row == "train/0" and label == NOT_NEXT
    )
    assert set(drawn) == {"It rains.", "It snows.", "It hails.", "Nothing more."}
    assert chisquare(list(drawn.values())).pvalue > 0.01


def test_pairs_follow_from_the_seed_alone() -> None:
    documents = write_documents(20)
    assert pairs_of(documents, 3).to_dict() == pairs_of(documents, 3).to_dict()
    assert pairs_of(documents, 3)["label"] != pairs_of(documents, 4)["label"]


def test_a_row_is_named_after_its_part_and_grouped_by_its_document() -> None:
    pairs = build_sentence_pairs(write_documents(3, 3), "next_sentence", 0, part="test")
    assert list(pairs["row"]) == [f"test/{number}" for number in range(6)]
    assert list(pairs["group"]) == ["train/0", "train/0", "train/1", "train/1", "train/2", "train/2"]


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 80), min_size=0, max_size=30),
    words=st.floats(2, 100, allow_nan=False),
)
def test_spans_hold_whole_sentences_in_order_and_are_two_where_there_are_two(lengths: list[int], words: float) -> None:
    sentences = [" ".join([f"w{number}"] * length) for number, length in enumerate(lengths)]
    spans = join_spans(sentences, words)
    assert " ".join(spans) == " ".join(sentences)
    assert all(spans)
    assert len(spans) >= min(2, len(sentences))


def test_the_spans_of_a_pair_fill_about_the_longest_input() -> None:
    documents = as_documents([" ".join(NUMBERED[begin : begin + 200]) for begin in range(0, 2000, 200)])
    pairs = build_sentence_pairs(documents, "pretraining", 0, part="train", max_length=128)
    words = [len(f"{first} {second}".split()) for first, second in zip(pairs["text"], pairs["text_pair"], strict=True)]
    # Three quarters of 128 tokens are 96 words, and a span ends with a sentence of 8.
    assert 96 - 16 <= min(words) <= max(words) <= 96 + 16
    assert abs(2 * sum(pairs["label"]) - len(pairs)) <= 1


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["One sentence.", "Another."],
            "2 documents with 2 sentences make 0 pairs of neighbours, at least 2 are needed",
        ),
        (["One. Two.", "Another."], "2 documents with 3 sentences make 1 pairs of neighbours, at least 2 are needed"),
        (["One. Two. Three."], "1 documents, 1 different with text; .* at least 2 are needed"),
        (["One. Two. Three.", "one. TWO. Three. "], "2 documents, 1 different with text; .* at least 2 are needed"),
        (["One. Two. Three.", " "], "2 documents, 1 different with text; .* at least 2 are needed"),
        ([], "0 documents, 0 different with text; .* at least 2 are needed"),
        (["Yes. No. No. No.", "No."], r"for \d sentences no other document has any but the one that follows: 'No.'"),
    ],
)
def test_too_little_to_pair_is_said_in_one_line(texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        pairs_of(as_documents(texts))
    assert "\n" not in str(caught.value)
