"""Sentences: where they end, and that nothing of a document is lost."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.sentences import LONGEST_WORDS, split_sentences

TROUBLE = st.text(alphabet="aA1.!?\"'”()[] \n\t…。-é𝒳\u2028")


@pytest.mark.parametrize(
    ("document", "sentences"),
    [
        (
            "Dr. Smith left at 5 p.m. yesterday. He paid $3.50.",
            ["Dr. Smith left at 5 p.m. yesterday.", "He paid $3.50."],
        ),
        ('"Stop!" he cried. Nobody did.', ['"Stop!" he cried.', "Nobody did."]),
        ("One line\nand the next. Then more.", ["One line\nand the next.", "Then more."]),
        ("A title\n\nThe text below it.", ["A title", "The text below it."]),
        ("It rained .\nthe <unk> was wet .", ["It rained .", "the <unk> was wet ."]),
        ("No stop at all", ["No stop at all"]),
        (" \n\t\n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(document: str, sentences: list[str]) -> None:
    assert split_sentences(document) == sentences


@given(st.one_of(st.text(), TROUBLE, st.lists(TROUBLE, max_size=5).map(lambda parts: " ".join(parts * 40))))
def test_no_visible_character_is_lost_or_moved(document: str) -> None:
    sentences = split_sentences(document)
    assert "".join("".join(sentences).split()) == "".join(document.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_a_quotation_that_never_ends_hides_no_stops() -> None:
    document = "He said: (" + " ".join(f"This is thing {number} of it." for number in range(40))
    sentences = split_sentences(document)
    assert len(document.split()) > LONGEST_WORDS
    assert len(sentences) == 40


def test_another_language_has_its_own_abbreviations() -> None:
    assert split_sentences("Das kostet ca. 5 Euro. Teuer.", "de") == ["Das kostet ca. 5 Euro.", "Teuer."]


@pytest.mark.realdata
def test_real_documents_lose_nothing_and_have_sentences_of_a_sentence_s_length(real_data: Path) -> None:
    from finetune.documents import open_documents

    for file, kind in (
        ("kant/kant.txt", "paragraph"),
        ("wikitext2/test.txt", "heading"),
        ("wiki_demo/wiki_demo.txt", "line"),
    ):
        documents = [str(row.cells[0]) for row in open_documents(real_data / file, kind).rows]
        sentences = [split_sentences(document) for document in documents]
        for document, found in zip(documents, sentences, strict=True):
            assert "".join("".join(found).split()) == "".join(document.split())
        words = [len(sentence.split()) for found in sentences for sentence in found]
        assert 12 < sum(words) / len(words) < 40
        assert sum(count for count in words if count > LONGEST_WORDS) < 0.09 * sum(words)
