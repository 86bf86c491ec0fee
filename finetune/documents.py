"""Documents of a .txt file, as a table with one column `text` and a row for each document.

Owns what a document is, the guess of it, and which reader serves a file. Documents without a visible character are none:

    line        a line, as it stands
    paragraph   lines up to a blank one, joined by a space, so that hard-wrapped lines are whole again
    heading     what follows ` = Title = ` up to the next, as WikiText has it: a paragraph a line. A heading stands between
                blank lines; it is no text, nor are those of sections, ` = = Section = = `
    file        the whole file, as it stands

Lines are read by `text_files`; a document holds at most 16 MiB. Documents are read as they are used, and so come errors.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain, islice, pairwise
from pathlib import Path

from finetune.errors import DataError
from finetune.readers import SUFFIXES, Row, Table, open_table
from finetune.task import Documents, Layout
from finetune.text_files import LINE_LIMIT, place, read_lines, refuse_special_file

TEXT_SUFFIX = ".txt"
ALL_SUFFIXES = (*SUFFIXES, TEXT_SUFFIX)
LINES_LOOKED_AT = 2000
SHARE_OF_BLANKS = 0.05
Lines = Iterable[tuple[int, str]]
# Whether a document begins here, the line, and its text.
Pieces = Iterator[tuple[bool, int, str]]


def open_rows(path: Path, layout: Layout) -> Table:
    """Open a table, or the documents of a .txt file.

    Raises:
        FinetuneError: as `open_table` and `open_documents`.
    """
    if path.suffix.lower() != TEXT_SUFFIX:
        return open_table(path, header=layout.header, delimiter=layout.delimiter)
    if not layout.header or layout.delimiter is not None:
        raise DataError(f"{place(path)}: a {TEXT_SUFFIX} file has no columns; 'header' and 'delimiter' are for tables")
    return open_documents(path, layout.documents)


def open_documents(path: Path, kind: Documents) -> Table:
    """Open the documents of a text file.

    Raises:
        MissingInputError, PermissionDeniedError: there is no such file, or it may not be read.
        DataError: no regular file, not UTF-8, no text, no heading where headings part documents; `rows` too.
        StorageError: the file system failed while reading; `rows` too.
    """
    refuse_special_file(path)
    cut, separator = {
        "line": (_cut_lines, ""),
        "paragraph": (_cut_paragraphs, " "),
        "heading": (partial(_cut_articles, path), "\n"),
        "file": (_cut_nowhere, ""),
    }[kind]
    rows = _join(path, cut(enumerate(read_lines(path), 1)), separator)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{place(path)}: no documents, no line holds text")
    return Table(path, ("text",), chain([first], rows))


def guess_documents(path: Path) -> tuple[Documents, str]:
    """Return what a document of a text file seems to be, and why.

    Raises:
        FinetuneError: the file can't be read, or holds no text.
    """
    refuse_special_file(path)
    lines = list(enumerate(islice(read_lines(path), LINES_LOOKED_AT), 1))
    blank = sum(not line.strip() for _, line in lines)
    if len(lines) == blank:
        raise DataError(f"{place(path)}: no documents, no line holds text")
    with suppress(DataError):
        if sum(opens for opens, *_ in _cut_articles(path, lines)) > 1:
            return "heading", "a document is what follows a heading ` = Title = `"
    if blank >= SHARE_OF_BLANKS * len(lines):
        return "paragraph", f"a document is a paragraph: {blank:,} of the first {len(lines):,} lines are blank"
    return "line", f"a document is a line: {blank:,} of the first {len(lines):,} are blank"


def _join(path: Path, pieces: Pieces, separator: str) -> Iterator[Row]:
    begin, parts, size = 0, [], 0
    for opens, number, text in chain(pieces, [(True, 0, "")]):
        if opens:
            joined = separator.join(parts)
            if joined.strip():
                yield Row(begin, (joined,))
            begin, parts, size = number, [], 0
        parts.append(text)
        size += len(text)
        if size > LINE_LIMIT:
            raise DataError(f"{place(path, begin)}: a document of more than 16 MiB; does data.documents fit the file?")


def _cut_lines(lines: Lines) -> Pieces:
    for number, line in lines:
        yield True, number, line.removesuffix("\n").removesuffix("\r")


def _cut_paragraphs(lines: Lines) -> Pieces:
    opens = True
    for number, line in lines:
        text = line.strip()
        if text:
            yield opens, number, text
        opens = not text


def _cut_articles(path: Path, lines: Lines) -> Pieces:
    titles, opens, is_after_blank = 0, True, True
    for (number, line), (_, following) in pairwise(chain(lines, [(0, "")])):
        text = line.strip()
        # WikiText has formulas that look like headings, but in the midst of a paragraph.
        level = _heading_level(text) if is_after_blank and not following.strip() else 0
        titles, is_after_blank = titles + (level == 1), not text
        if level == 1:
            opens = True
        elif text and not level:
            yield opens, number, text
            opens = False
    if not titles:
        raise DataError(
            f"{place(path)}: no heading ` = Title = ` between blank lines; data.documents: line, paragraph or file cuts otherwise"
        )


def _cut_nowhere(lines: Lines) -> Pieces:
    for number, line in lines:
        yield number == 1, number, line


def _heading_level(text: str) -> int:
    """Return 1 for `= Title =`, 2 for `= = Section = =`, and so on; 0 for other lines."""
    words = text.split()
    level = next((number for number, word in enumerate(words) if word != "="), 0)
    return level if level and words[-level:] == ["="] * level and words[-level - 1] != "=" else 0
