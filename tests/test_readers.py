"""What the readers promise: each cell is the text in the file, and each fault is one line that names its place."""

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune import readers, text_files
from finetune.errors import (
    DataError,
    FinetuneError,
    MissingInputError,
    PermissionDeniedError,
    StorageError,
    UnavailableError,
)
from finetune.readers import SUFFIXES, Row, open_table, place

AWKWARD = [
    "NA", "None", "null", "nan", "true", "007", "1e5", " x ", "", "a\u2028b", "a\x0bb\x0cc\x1cd\x85e", "\U0001f600",
    "\u200fשלום\u200e", "\ufeffmark", "# no comment", "a,b", "it's", "back\\slash", "\u00a0", "١٢",
]  # fmt: skip


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows(rows)


def write_parquet(path: Path, columns: dict[str, object]) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)


def cells(path: Path, **options: object) -> list[tuple[str | None, ...]]:
    return [row.cells for row in open_table(path, **options).rows]


def fault(path: Path, kind: type[FinetuneError] = DataError, **options: object) -> str:
    """Return the message of the error that reading `path` ends in, without the folder."""
    with pytest.raises(FinetuneError) as caught:
        cells(path, **options)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(path.parent))
    return message.removeprefix(f"{path.parent}/")


# --- what is kept ---


def test_a_tsv_keeps_every_awkward_cell_as_it_is(tmp_path: Path) -> None:
    texts = [*AWKWARD, '"', 'a "b', "x\ry"]
    path = write(tmp_path, "a.tsv", "text\tlabel\n" + "".join(f"{text}\t1\n" for text in texts))
    assert [text for text, _ in cells(path)] == texts


def test_a_csv_keeps_every_awkward_cell_as_it_is(tmp_path: Path) -> None:
    texts = [*AWKWARD, 'a "b"', "x\ry", "x\ny", "x\r\ny"]
    write_csv(tmp_path / "a.csv", [["text", "label"], *([text, "1"] for text in texts)])
    assert [text for text, _ in cells(tmp_path / "a.csv")] == texts


def test_a_jsonl_keeps_every_awkward_cell_as_it_is(tmp_path: Path) -> None:
    texts = [*AWKWARD, 'a "b"', "x\ry", "x\ny", "x\ty"]
    for ascii_only in (True, False):
        lines = [json.dumps({"text": text}, ensure_ascii=ascii_only) for text in texts]
        assert cells(write(tmp_path, "a.jsonl", "\n".join(lines))) == [(text,) for text in texts]


def test_a_parquet_file_keeps_every_awkward_cell_as_it_is(tmp_path: Path) -> None:
    texts = [*AWKWARD, 'a "b"', "x\ry", "x\ny", "x\ty"]
    write_parquet(tmp_path / "a.parquet", {"text": texts})
    assert cells(tmp_path / "a.parquet") == [(text,) for text in texts]


@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("change", [
    lambda data: b"\xef\xbb\xbf" + data,
    lambda data: data.replace(b"\n", b"\r\n"),
    lambda data: data.removesuffix(b"\n"),
    lambda data: data + b"\n\r\n\n",
], ids=["mark", "crlf", "no final newline", "blank lines at the end"])  # fmt: skip
def test_mark_crlf_and_the_end_of_the_file_change_nothing(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    plain = {
        "a.tsv": b"text\tlabel\none\t1\ntwo\t0\n",
        "a.csv": b"text,label\none,1\n\"two\",0\n",
        "a.jsonl": b'{"text": "one", "label": 1}\n{"text": "two", "label": 0}\n',
    }  # fmt: skip
    table = open_table(write(tmp_path, name, change(plain[name])))
    assert table.columns == ("text", "label")
    first = 1 if name == "a.jsonl" else 2
    assert list(table.rows) == [Row(first, ("one", "1")), Row(first + 1, ("two", "0"))]


def test_a_row_carries_the_line_it_starts_at(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\n"one\ntwo\r\nthree",1\nx,0\n')
    assert [row.number for row in open_table(path).rows] == [2, 5]


def test_without_a_header_the_columns_are_numbered_and_the_first_line_is_a_row(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "a.tsv", "gj04\t1\t\tSailors ride.\n"), header=False)
    assert table.columns == ("1", "2", "3", "4")
    assert list(table.rows) == [Row(1, ("gj04", "1", "", "Sailors ride."))]


def test_another_delimiter_reads_a_csv(tmp_path: Path) -> None:
    assert cells(write(tmp_path, "a.csv", 'text;label\n"a;b";1,5\n'), delimiter=";") == [("a;b", "1,5")]


def test_json_numbers_stay_as_written_and_truth_values_become_text(tmp_path: Path) -> None:
    line = '{"a": 1.0, "b": -0, "c": 1E400, "d": 12345678901234567890123, "e": true, "f": false, "g": null}'
    assert cells(write(tmp_path, "a.jsonl", line)) == [
        ("1.0", "-0", "1E400", "12345678901234567890123", "true", "false", None)
    ]


def test_a_json_integer_longer_than_python_converts_is_read(tmp_path: Path) -> None:
    assert cells(write(tmp_path, "a.jsonl", '{"a": ' + "9" * 10_000 + "}")) == [("9" * 10_000,)]


def test_json_keys_may_stand_in_another_order(tmp_path: Path) -> None:
    assert cells(write(tmp_path, "a.jsonl", '{"a": "1", "b": "2"}\n{"b": "4", "a": "3"}\n')) == [("1", "2"), ("3", "4")]


def test_json_surrogate_pairs_are_one_character(tmp_path: Path) -> None:
    assert cells(write(tmp_path, "a.jsonl", r'{"a": "\ud83d\ude00"}')) == [("\U0001f600",)]


def test_parquet_types_become_text_and_the_others_are_left_out(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "a.parquet",
        {
            "plain": ["a", None],
            "large": pyarrow.array(["b", ""], pyarrow.large_string()),
            "coded": pyarrow.array(["c", None]).dictionary_encode(),
            "int": pyarrow.array([-7, 2**62], pyarrow.int64()),
            "float": [0.1, float("nan")],
            "bool": [True, False],
            "list": [[1], [2]],
            "bytes": [b"1", b"2"],
        },
    )
    table = open_table(tmp_path / "a.parquet")
    assert table.columns == ("plain", "large", "coded", "int", "float", "bool")
    assert list(table.rows) == [
        Row(1, ("a", "b", "c", "-7", "0.1", "true")),
        Row(2, (None, "", None, str(2**62), "nan", "false")),
    ]
    assert [entry.split(" ")[0] for entry in table.left_out] == ["list", "bytes"]


def test_rows_of_several_parquet_batches_are_numbered_on(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": [str(number) for number in range(1, 10_001)]})
    assert [(str(row.number),) for row in open_table(tmp_path / "a.parquet").rows] == cells(tmp_path / "a.parquet")


def test_a_cell_longer_than_the_default_limit_of_csv_is_read(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    assert cells(write(tmp_path, "a.csv", f"text,label\n{long},1\n")) == [(long, "1")]


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "text\tlabel\n" + "good\t1\n" * 100_000 + "bad\n")
    rows = open_table(path).rows
    assert next(rows) == Row(2, ("good", "1"))
    with pytest.raises(DataError, match="a.tsv:100002: 1 cell, 2 expected"):
        list(rows)


def test_the_module_loads_no_heavy_package() -> None:
    code = "import sys, finetune.readers; sys.exit(len({'torch', 'datasets', 'pyarrow', 'pandas'} & set(sys.modules)))"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# --- files that can't be read ---


def test_a_missing_file_is_named_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "train.tsv", "")
    assert fault(tmp_path / "trian.tsv", MissingInputError) == "trian.tsv: no such file; did you mean 'train.tsv'?"
    assert "no such file" in fault(tmp_path / "none" / "a.tsv", MissingInputError)
    assert "no such file" in fault(tmp_path / "train.tsv" / "a.tsv", MissingInputError)


def test_a_name_with_control_characters_stays_one_line(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"a\\nb\.tsv: no such file") as caught:
        open_table(tmp_path / "a\nb.tsv")
    assert "\n" not in str(caught.value)
    with pytest.raises(MissingInputError, match=r"a\\x00b\.tsv: no such file"):
        open_table(tmp_path / "a\0b.tsv")


def test_a_name_too_long_is_a_storage_error(tmp_path: Path) -> None:
    assert "reading failed" in fault(tmp_path / ("x" * 300 + ".tsv"), StorageError)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").mkdir()
    assert fault(tmp_path / "a.tsv") == "a.tsv: a folder, not a data file"


def test_a_fifo_or_device_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tsv")
    assert "not a regular file" in fault(tmp_path / "a.tsv")
    assert "not a regular file" in fault(Path("/dev/zero"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    # The tests may run as a user who may read everything, so the refusal is played.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, f"a{suffix}", "x")
    monkeypatch.setattr(Path, "open", refuse)
    assert fault(path, PermissionDeniedError) == f"a{suffix}: no permission to read it"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_fails_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

        readline = readinto = read

    path = write(tmp_path, f"a{suffix}", "x")
    monkeypatch.setattr(Path, "open", lambda *_: Broken(bytes(100)))
    assert fault(path, StorageError) == f"a{suffix}: reading failed: Input/output error"


def test_parquet_without_pyarrow_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "needs the package pyarrow" in fault(write(tmp_path, "a.parquet", "x"), UnavailableError)


@pytest.mark.parametrize(("name", "hint"), [
    ("a.txt", ""), ("a.json", "; did you mean '.jsonl'?"), ("a.parqet", "; did you mean '.parquet'?"), ("a", ""),
])  # fmt: skip
def test_another_suffix_names_the_allowed_ones(tmp_path: Path, name: str, hint: str) -> None:
    assert fault(write(tmp_path, name, "x")) == f"{name}: not a .csv, .jsonl, .parquet or .tsv file{hint}"


def test_a_suffix_in_capitals_is_read(tmp_path: Path) -> None:
    assert cells(write(tmp_path, "A.TSV", "a\tb\n1\t2\n")) == [("1", "2")]


@pytest.mark.parametrize(("name", "options"), [
    ("a.tsv", {"delimiter": ","}), ("a.csv", {"delimiter": ""}), ("a.csv", {"delimiter": "::"}),
    ("a.csv", {"delimiter": '"'}), ("a.csv", {"delimiter": "\n"}), ("a.jsonl", {"delimiter": ","}),
    ("a.jsonl", {"header": False}), ("a.parquet", {"header": False}),
])  # fmt: skip
def test_an_option_that_the_format_lacks_is_refused(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    assert ("delimiter" if "delimiter" in options else "header") in fault(write(tmp_path, name, "x"), **options)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize(("head", "kind"), [
    (b"PK\x03\x04", "ZIP"), (b"\x1f\x8b\x08", "gzip"), (b"\xfd7zXZ\0", "xz"), (b"PAR1\x15\x04", "Parquet"),
    (b"\x80\x04\x95", "pickle"), (b"\xff\xfea\0", "UTF-16"), (b"\xfe\xff\0a", "UTF-16"),
])  # fmt: skip
def test_another_kind_of_file_under_a_text_name_is_recognised(
    tmp_path: Path, suffix: str, head: bytes, kind: str
) -> None:
    message = fault(write(tmp_path, f"a{suffix}", head + bytes(range(256))))
    assert message.startswith(f"a{suffix}: not UTF-8 text: looks like")
    assert kind in message


def test_text_that_begins_like_a_signature_is_still_text(tmp_path: Path) -> None:
    for name in ("PK", "PAR1", "BZh9"):
        assert cells(write(tmp_path, "a.tsv", f"{name}\tb\n1\t2\n")) == [("1", "2")]


@pytest.mark.parametrize("content", [b"no", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"PK\x03\x04" + bytes(50), b""])
def test_what_is_not_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    assert fault(write(tmp_path, "a.parquet", content)).startswith("a.parquet: not a whole Parquet file: ")


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "whole.parquet", {"text": ["one", "two"]})
    data = (tmp_path / "whole.parquet").read_bytes()
    for length in range(0, len(data), 7):
        assert "not a whole Parquet file" in fault(write(tmp_path, "a.parquet", data[:length]))


def test_parquet_text_that_is_not_utf8_names_the_rows(tmp_path: Path) -> None:
    broken = pyarrow.array([b"good", b"\xff"]).view(pyarrow.string())
    write_parquet(tmp_path / "a.parquet", {"text": broken})
    assert fault(tmp_path / "a.parquet") == "a.parquet: not UTF-8 in rows 1 to 2"


def test_a_parquet_file_of_other_types_only_names_them(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"tokens": [[1, 2]]})
    assert "no column of text or numbers among 1: tokens (list<" in fault(tmp_path / "a.parquet")


# --- no rows, wrong names, wrong rows ---


@pytest.mark.parametrize(("name", "content"), [
    ("a.tsv", ""), ("a.csv", ""), ("a.jsonl", ""), ("a.tsv", "\n\n"), ("a.csv", "\r\n\n"), ("a.jsonl", "\n \n"),
    ("a.tsv", "text\tlabel\n"), ("a.csv", "text,label"), ("a.tsv", "text\tlabel\n\n\n"), ("a.tsv", "\ufeff"),
])  # fmt: skip
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: str) -> None:
    assert f"{name}: no rows" in fault(write(tmp_path, name, content))


def test_a_parquet_file_without_rows_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", {"text": pyarrow.array([], pyarrow.string())})
    assert "a.parquet: no rows" in fault(tmp_path / "a.parquet")


@pytest.mark.parametrize(("name", "content", "expected"), [
    ("a.tsv", "t\tt\n1\t2\n", "a.tsv:1:t: two columns have this name"),
    ("a.csv", "t,t\n1,2\n", "a.csv:1:t: two columns have this name"),
    ("a.csv", "t,\n1,2\n", "a.csv:1: column 2 has no name"),
    ("a.csv", " ,t\n1,2\n", "a.csv:1: column 1 has no name"),
    ("a.csv", '""\n1\n', "a.csv:1: column 1 has no name"),
    ("a.csv", ",,t\n1,2,3\n", "a.csv:1: column 2 has no name"),
    ("a.tsv", "t\t \n1\t2\n", "a.tsv:1: column 2 has no name"),
    ("a.jsonl", '{"": 1}\n', "a.jsonl:1: column 1 has no name"),
    ("a.jsonl", "{}\n", "a.jsonl:1: not a JSON object with keys"),
])  # fmt: skip
def test_missing_and_double_column_names_are_refused(tmp_path: Path, name: str, content: str, expected: str) -> None:
    assert fault(write(tmp_path, name, content)).startswith(expected)


def test_a_row_index_that_pandas_wrote_without_a_name_gets_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", ",text\n0,x\n1,y\n")
    assert open_table(path).columns == ("(row index)", "text")
    assert cells(path) == [("0", "x"), ("1", "y")]


def test_double_column_names_in_parquet_are_refused(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["1"]), pyarrow.array(["2"])], names=["t", "t"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert fault(tmp_path / "a.parquet") == "a.parquet:t: two columns have this name"


def test_a_row_with_a_tab_too_many_names_file_and_row(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "a.tsv", "text\tlabel\ngood\t1\nstray\ttab\t0\n"))
    assert message.startswith("a.tsv:3: 3 cells, 2 expected; is there a stray tab")


def test_a_row_with_a_cell_too_few_names_file_and_row(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "a.tsv", "t\tl\ngood\t1\nshort\n")).startswith("a.tsv:3: 1 cell, 2 expected")
    assert fault(write(tmp_path, "a.csv", 't,l\n"a\nb",1\nshort\n')).startswith("a.csv:4: 1 cell, 2 expected")


def test_a_csv_row_with_an_unquoted_comma_names_file_and_row(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "a.csv", "text,label\nwell, no,1\n"))
    assert message.startswith("a.csv:2: 3 cells, 2 expected; is there a cell with ',' that is not in quotes")


@pytest.mark.parametrize(("header", "guess"), [("text\tlabel", "tab separated"), ("text;label", "separated by ';'")])
def test_a_csv_of_one_column_is_asked_for_its_delimiter(tmp_path: Path, header: str, guess: str) -> None:
    path = write(tmp_path, "a.csv", f"{header}\nx\n")
    assert fault(path).startswith(f"a.csv:1: one column found; is it {guess}?")
    assert cells(path, delimiter=",") == [("x",)]


def test_a_csv_without_names_whose_line_has_tabs_is_asked_for_its_delimiter_too(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "good\t1\nbad\t0\n")
    assert "is it tab separated?" in fault(path, header=False)
    assert cells(path, header=False, delimiter="\t") == [("good", "1"), ("bad", "0")]


@pytest.mark.parametrize("first", ["gj04\t1\t\tOur friends will not buy it.", "bc01\t0\t*\tNo, they buys it, too."])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_raw_file_of_cola_in_the_place_of_a_table_is_named(tmp_path: Path, name: str, first: str) -> None:
    path = write(tmp_path, name, f"{first}\nks08\t1\t\tThe train left.\n")
    assert fault(path).startswith(f"{name}:1: no names of columns but a line as CoLA's own files have it")
    assert cells(path.rename(tmp_path / "b.tsv"), header=False)[0][:3] == tuple(first.split("\t")[:3])


@pytest.mark.parametrize(("name", "content", "row"), [
    ("a.tsv", "t\tl\na\t1\n\nb\t0\n", 3), ("a.csv", "t,l\r\n\r\n\r\nb,0\r\n", 2), ("a.tsv", "\nt\tl\na\t1\n", 1),
    ("a.jsonl", '{"t": 1}\n\n{"t": 2}\n', 2), ("a.tsv", "t\na\n\nb\n", 3),
])  # fmt: skip
def test_a_blank_line_before_a_row_is_named(tmp_path: Path, name: str, content: str, row: int) -> None:
    assert fault(write(tmp_path, name, content)).startswith(f"{name}:{row}: blank line")


def test_a_quote_never_closed_names_the_row_where_it_opened(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'text,label\nx,1\n"open,1\n' + "y,0\n" * 1000)
    assert fault(path) == "a.csv:3: a quote opened in this row is never closed"


def test_text_after_a_closing_quote_names_both_rows(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "a.csv", 'text,label\n"open,1\nx,"y",0\n'))
    assert message.startswith("a.csv:2: text after a closing quote, at line 3;")


def test_a_carriage_return_outside_quotes_is_named(tmp_path: Path) -> None:
    assert fault(write(tmp_path, "a.csv", "t,l\nx\ry,1\n")).startswith("a.csv:2: a carriage return outside quotes")


@pytest.mark.parametrize(("name", "content", "row"), [
    ("a.tsv", b"t\tl\na\t1\ncaf\xe9\t0\n", 3), ("a.csv", b"t,l\na,1\ncaf\xe9,0\n", 3),
    ("a.jsonl", b'{"t":1}\n{"t":"\xe9"}\n', 2), ("a.tsv", b"\xef\xbb\xbft\tl\na\t\xe9\n", 2),
])  # fmt: skip
def test_a_byte_that_is_not_utf8_names_row_and_offset(tmp_path: Path, name: str, content: bytes, row: int) -> None:
    message = fault(write(tmp_path, name, content))
    offset = content.index(b"\xe9")
    assert message == f"{name}:{row}: not UTF-8: byte 0xe9 at offset {offset}; is it Latin-1 (Windows-1252)?"


@pytest.mark.parametrize(("name", "content"), [
    ("a.tsv", "t\tl\na\0\t1\n"), ("a.csv", "t,l\na\0,1\n"), ("a.jsonl", '{"t": 1}\n{"t": "\0"}\n'),
])  # fmt: skip
def test_a_nul_byte_names_the_row(tmp_path: Path, name: str, content: str) -> None:
    assert fault(write(tmp_path, name, content)).startswith(f"{name}:2: NUL byte")


def test_a_line_beyond_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LINE_LIMIT", 100)
    monkeypatch.setattr(readers, "LINE_LIMIT", 100)
    for name, content in {"a.tsv": "t\tl\n{}\t1\n", "a.csv": "t,l\n{},1\n"}.items():
        assert cells(write(tmp_path, name, content.replace("{}", "x" * 97))) == [("x" * 97, "1")]
        assert fault(write(tmp_path, name, content.replace("{}", "x" * 98))) == f"{name}:2: a line of more than 16 MiB"


def test_a_quoted_cell_beyond_the_limit_names_the_row_where_it_opened(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 't,l\nx,1\n"open,1\n' + "y" * 999_999 + "\n" + ("y" * 999_999 + "\n") * 17)
    assert fault(path).startswith("a.csv:3: a cell of more than 16 MiB; is a quote")


@pytest.mark.parametrize(("line", "expected"), [
    ('{"t": "cut', "not a whole JSON object: Unterminated string"),
    ('{"t": "cut"', "not a whole JSON object: Expecting ',' delimiter (character 12)"),
    ('{"t": 007}', "not a whole JSON object"),
    ('{"t": 1} {"t": 2}', "not a whole JSON object: Extra data"),
    ('{"t": "tab\there"}', "not a whole JSON object: Invalid control character"),
    ('{"t": 1, "t": 2}', "not a whole JSON object: the key 't' stands twice"),
    ('{"t": ' + "[" * 100_000, "not a whole JSON object: maximum recursion"),
    ("[1, 2]", "not a JSON object"),
    ("7", "not a JSON object"),
    ("NaN", "not a JSON object"),
    ("{}", "not a JSON object"),
    ('{"t": 1, "u": 2}', "not the keys of the first object, missing or new: 'u'"),
    ('{"u": 2}', "not the keys of the first object, missing or new: 't', 'u'"),
])  # fmt: skip
def test_a_line_that_is_no_good_json_object_names_the_row(tmp_path: Path, line: str, expected: str) -> None:
    assert fault(write(tmp_path, "a.jsonl", '{"t": 1}\n' + line)).startswith(f"a.jsonl:2: {expected}")


@pytest.mark.parametrize("value", ["[1]", '{"a": 1}', "NaN", "-Infinity", r'"\ud83d"', r'"\ude00\ud83d"'])
def test_a_json_value_that_is_no_text_names_row_and_column(tmp_path: Path, value: str) -> None:
    message = fault(write(tmp_path, "a.jsonl", f'{{"t": 1}}\n{{"t": {value}}}\n'))
    assert message.startswith("a.jsonl:2:t: ")
    assert ("surrogate" if "u" in value else "a list, an object or NaN") in message


@pytest.mark.parametrize("content", ['[{"t": 1}]', '[\n{"t": 1}\n]', '{\n  "t": 1\n}\n'])
def test_one_json_document_is_recognised(tmp_path: Path, content: str) -> None:
    expected = "a.jsonl: looks like one JSON document, one object a line is expected"
    assert fault(write(tmp_path, "a.jsonl", content)) == expected


def test_place_leaves_out_what_is_not_known() -> None:
    path = Path("d/a.tsv")
    assert place(path) == "d/a.tsv"
    assert place(path, 3) == "d/a.tsv:3"
    assert place(path, 3, "text\n") == "d/a.tsv:3:text\\n"


# --- properties ---

ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(AWKWARD)
# A text file holds no NUL, and a TSV has no way to write a tab or a line end.
NO_NUL = ANY.map(lambda text: text.replace("\0", ""))
TSV = NO_NUL.map(lambda text: text.translate(dict.fromkeys(map(ord, "\t\r\n"))))


def tables(cell: st.SearchStrategy[str]) -> st.SearchStrategy[list[list[str]]]:
    """Tables of 1 to 4 columns and 1 to 6 rows; the first cell of a row is never empty, so no line is blank."""
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(cell, min_size=width, max_size=width).map(lambda row: [row[0] or "x", *row[1:]]),
            min_size=1,
            max_size=6,
        )
    )


def assert_reads_back(name: str, rows: list[list[str]], save: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder, name))
        table = open_table(Path(folder, name))
        assert table.columns == tuple(f"c{index}" for index in range(len(rows[0])))
        assert [list(row.cells) for row in table.rows] == rows


def header(rows: list[list[str]]) -> list[str]:
    return [f"c{index}" for index in range(len(rows[0]))]


@settings(deadline=None)
@given(tables(TSV))
def test_any_table_written_as_tsv_reads_back_the_same(rows: list[list[str]]) -> None:
    text = "".join("\t".join(row) + "\n" for row in [header(rows), *rows])
    assert_reads_back("a.tsv", rows, lambda path: path.write_bytes(text.encode()))


@settings(deadline=None)
@given(tables(NO_NUL))
def test_any_table_written_as_csv_reads_back_the_same(rows: list[list[str]]) -> None:
    assert_reads_back("a.csv", rows, lambda path: write_csv(path, [header(rows), *rows]))


@settings(deadline=None)
@given(tables(ANY), st.booleans())
def test_any_table_written_as_jsonl_reads_back_the_same(rows: list[list[str]], ascii_only: bool) -> None:
    lines = [json.dumps(dict(zip(header(rows), row, strict=True)), ensure_ascii=ascii_only) + "\n" for row in rows]
    assert_reads_back("a.jsonl", rows, lambda path: path.write_bytes("".join(lines).encode()))


@settings(deadline=None)
@given(tables(ANY))
def test_any_table_written_as_parquet_reads_back_the_same(rows: list[list[str]]) -> None:
    columns = dict(zip(header(rows), zip(*rows, strict=True), strict=True))
    assert_reads_back("a.parquet", rows, lambda path: write_parquet(path, columns))
