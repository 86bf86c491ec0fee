"""Documents of a .txt file: nothing of the text is lost, and what a document is follows one stated rule."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune import documents
from finetune.documents import guess_documents, open_documents, open_rows
from finetune.errors import DataError, MissingInputError
from finetune.task import Documents, Layout

KINDS: tuple[Documents, ...] = ("line", "paragraph", "heading", "file")
ARTICLES = """
 = Lobster =

 It is blue .
 It has claws .

 = = Life cycle = =

 Mating takes place in summer .

 = Du Fu =

 He was a poet .
 = 1 and <unk> C =
 The formula stays .
"""
lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def texts(path: Path, kind: Documents) -> list[str]:
    table = open_documents(path, kind)
    assert table.columns == ("text",)
    return [str(row.cells[0]) for row in table.rows]


def write(folder: Path, content: str | bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def fault(path: Path, kind: Documents = "line") -> str:
    with pytest.raises(DataError) as caught:
        texts(path, kind)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_a_line_is_a_document_as_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffone \r\n\n \t\n  two\u2028three\nNA")
    assert texts(path, "line") == ["one ", "  two\u2028three", "NA"]
    assert [row.number for row in open_documents(path, "line").rows] == [1, 4, 5]


def test_the_lines_of_a_paragraph_are_whole_again(tmp_path: Path) -> None:
    path = write(tmp_path, "\n THE CRITIQUE\n\n\nIn Possession of Certain\n Cognitions.\n \t \nLast\n")
    assert texts(path, "paragraph") == ["THE CRITIQUE", "In Possession of Certain Cognitions.", "Last"]
    assert [row.number for row in open_documents(path, "paragraph").rows] == [2, 5, 8]


def test_an_article_begins_at_a_heading_of_the_first_level_between_blank_lines(tmp_path: Path) -> None:
    assert texts(write(tmp_path, ARTICLES), "heading") == [
        "It is blue .\nIt has claws .\nMating takes place in summer .",
        "He was a poet .\n= 1 and <unk> C =\nThe formula stays .",
    ]


def test_text_before_the_first_heading_is_a_document_too(tmp_path: Path) -> None:
    assert texts(write(tmp_path, "Preface.\n\n = A =\n\nText.\n"), "heading") == ["Preface.", "Text."]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("= A =", 1),
        ("= = A = =", 2),
        ("= = = A b = = =", 3),
        ("= a = b =", 1),
        ("= A", 0),
        ("= = A =", 0),
        ("= A = =", 0),
        ("A = B", 0),
        ("=", 0),
        ("= = =", 0),
        ("", 0),
    ],
)
def test_a_heading_has_as_many_marks_before_as_behind(text: str, level: int) -> None:
    assert documents._heading_level(text) == level


def test_a_whole_file_is_a_document_as_it_stands(tmp_path: Path) -> None:
    content = "\n one\n\n two \n"
    assert texts(write(tmp_path, content), "file") == [content]


@given(st.lists(lines, max_size=12), st.sampled_from(KINDS[:2] + KINDS[3:]))
def test_no_visible_character_is_lost_and_no_document_is_blank(
    tmp_path_factory: pytest.TempPathFactory, content: list[str], kind: Documents
) -> None:
    path = write(tmp_path_factory.mktemp("lines"), "\n".join(content))
    visible = "".join("\n".join(content).removeprefix("\ufeff").split())
    if not visible:
        assert fault(path, kind).startswith("a.txt: no")
        return
    found = texts(path, kind)
    assert all(text.strip() for text in found)
    assert "".join("".join(found).split()) == visible


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_text_is_refused(tmp_path: Path, kind: Documents) -> None:
    assert fault(write(tmp_path, ""), kind).startswith("a.txt: no ")
    assert fault(write(tmp_path, " \n\n\t\n"), kind).startswith("a.txt: no ")


def test_bytes_that_are_no_text_name_their_line(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "one\ncaf\u00e9\n".encode("latin-1"))).startswith("a.txt:2: not UTF-8: byte 0xe9")
    assert fault(write(tmp_path, "one\ntwo\0\n")).startswith("a.txt:2: NUL byte")
    assert fault(write(tmp_path, b"PK\x03\x04"), "file") == (
        "a.txt: not UTF-8 text: looks like a ZIP archive (.zip, .xlsx, .npz, .pt)"
    )


def test_a_document_beyond_the_limit_names_where_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LINE_LIMIT", 20)
    path = write(tmp_path, "short\n\n" + "ten letter\n" * 3)
    assert fault(path, "paragraph") == ("a.txt:3: a document of more than 16 MiB; does data.documents fit the file?")
    assert len(texts(path, "line")) == 4


def test_a_file_without_headings_says_how_else_it_can_be_cut(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "one\n\ntwo\n"), "heading") == (
        "a.txt: no heading ` = Title = ` between blank lines; data.documents: line, paragraph or file cuts otherwise"
    )


def test_a_missing_text_file_names_the_nearest_one(tmp_path: Path) -> None:
    write(tmp_path, "text", "kant.txt")
    with pytest.raises(MissingInputError, match=r"knat\.txt: no such file; did you mean 'kant\.txt'\?"):
        open_documents(tmp_path / "knat.txt", "line")
    with pytest.raises(DataError, match="a folder, not a data file"):
        open_documents(tmp_path, "line")


def test_the_suffix_decides_whether_a_file_is_a_table(tmp_path: Path) -> None:
    table = open_rows(write(tmp_path, "text,n\nx,1\n", "a.CSV"), Layout("text"))
    assert table.columns == ("text", "n")
    path = write(tmp_path, "one\n\ntwo\nthree\n", "a.TXT")
    assert [row.cells for row in open_rows(path, Layout("text", documents="paragraph")).rows] == [
        ("one",),
        ("two three",),
    ]
    for layout in (Layout("1", header=False), Layout("text", delimiter=";")):
        with pytest.raises(
            DataError, match=r"a\.TXT: a \.txt file has no columns; 'header' and 'delimiter' are for tables"
        ):
            open_rows(path, layout)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (ARTICLES, "heading"),
        ("one\ntwo\nthree\n", "line"),
        ("one\ntwo\n\nthree\n", "paragraph"),
        (" = Only one =\n\nText\n", "paragraph"),
    ],
)
def test_what_a_document_is_can_be_guessed(tmp_path: Path, content: str, kind: str) -> None:
    found, reason = guess_documents(write(tmp_path, content))
    assert found == kind
    assert reason.startswith("a document is ")


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("kant/kant.txt", "paragraph", 2104),
        # Two lines of a formula look like headings of the test file; the published articles are 60.
        ("wikitext2/valid.txt", "heading", 60),
        ("wikitext2/test.txt", "heading", 60),
        ("wiki_demo/wiki_demo.txt", "line", 30),
    ],
)
def test_published_corpora_have_the_known_number_of_documents(
    real_data: Path, name: str, kind: Documents, rows: int
) -> None:
    assert len(texts(real_data / name, kind)) == rows
    assert guess_documents(real_data / name)[0] == kind
