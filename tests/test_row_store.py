"""finetune.row_store: rows on disk are the rows in memory, and nothing is left of them."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset

from finetune.data_checks import read_column
from finetune.row_store import Spool, build_examples, cut_rows, keep_rows, read_rows, store_rows

ROWS = 25


@pytest.fixture(params=["in memory", "on disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of temporary files, where rows of more than 100 bytes go, or none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("finetune.row_store.ROWS_A_CHUNK", 10)
    if request.param == "on disk":
        monkeypatch.setattr("finetune.row_store.BYTES_IN_MEMORY", 100)
    return tmp_path


def store_texts(rows: int = ROWS) -> Dataset:
    def write(begin: int, end: int) -> pa.Table:
        numbers = range(begin, end)
        return pa.table({"row": [f"train/{n}" for n in numbers], "text": [f"text {n} \u00e9" for n in numbers]})

    return build_examples(store_rows(write(begin, min(begin + 10, rows)) for begin in range(0, rows, 10)))


def read_texts(examples: Dataset) -> list[str]:
    return read_column(examples, "text")


def test_rows_come_back_as_they_were_written(place: Path) -> None:
    assert read_texts(store_texts()) == [f"text {n} \u00e9" for n in range(ROWS)]


def test_arrays_come_back_as_they_were_written_and_cant_be_changed(place: Path) -> None:
    spool = Spool()
    chunks = [np.arange(begin, begin + 20, dtype=np.int32) for begin in range(0, 100, 20)]
    for chunk in chunks:
        spool.write(chunk)
    found = spool.read_array(np.int32)
    np.testing.assert_array_equal(found, np.arange(100))
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_nothing_is_an_array_too() -> None:
    assert Spool().read_array(np.int64).shape == (0,)


def test_files_have_no_name_and_are_closed_with_the_rows(place: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    rows = store_texts(1000)
    assert not list(place.iterdir())
    del rows
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_some_rows_are_kept_in_their_order(place: Path) -> None:
    is_kept = np.arange(ROWS) % 3 == 0
    kept = keep_rows(store_texts(), is_kept)
    assert list(kept) == list(store_texts().select(np.flatnonzero(is_kept)))
    assert len(keep_rows(kept, np.zeros(len(kept), dtype=bool))) == 0


def test_rows_that_were_selected_or_shuffled_are_kept_as_they_stand(place: Path) -> None:
    shuffled = store_texts().shuffle(seed=3)
    assert list(keep_rows(shuffled, np.ones(ROWS, dtype=bool))) == list(shuffled)


@pytest.mark.parametrize("rows", [1, 10, 11, ROWS])
def test_cut_rows_leave_no_seam(place: Path, rows: int) -> None:
    parts = list(cut_rows(store_texts(rows)))
    assert max(map(len, parts)) <= 10
    assert [text for part in parts for text in read_texts(part)] == read_texts(store_texts(rows))


def test_rows_read_when_they_are_asked_for_are_those_read_at_once(place: Path) -> None:
    examples = store_texts()
    lazy, whole = read_rows(examples, read_texts), read_texts(examples)
    assert not isinstance(lazy, list) and isinstance(read_rows(store_texts(10), read_texts), list)
    assert len(lazy) == ROWS and list(lazy) == whole
    assert [lazy[number] for number in range(-ROWS, ROWS)] == [whole[number] for number in range(-ROWS, ROWS)]
    assert list(lazy[8:13]) == whole[8:13] and list(lazy[20:]) == whole[20:]
    assert whole[7] in lazy and "no such text" not in lazy
    with pytest.raises(IndexError):
        lazy[ROWS]
