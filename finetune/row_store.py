"""Rows and arrays that may be larger than memory: kept in memory while they are few, on disk where they are not.

Owns where they lie, and going through rows some at a time. Such a file has no name, so that the system drops it with the process,
however that ends; it is mapped, so that its pages come and go as they are read. It lies where temporary files do (TMPDIR).
"""

import io
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

BYTES_IN_MEMORY = 16 * 2**20
ROWS_A_CHUNK = 10_000

T = TypeVar("T")


class Spool(io.RawIOBase):
    """Bytes that are written one after the other, then read as one buffer: from memory, or from a mapped file if they are many."""

    def __init__(self) -> None:
        """Begin with none."""
        self._stream: IO[bytes] = io.BytesIO()

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._stream.tell()

    def write(self, data: Any) -> int:
        """Append bytes, or any buffer.

        Raises:
            OSError: the disk is full.
        """
        stream = self._stream
        if isinstance(stream, io.BytesIO) and stream.tell() + memoryview(data).nbytes > BYTES_IN_MEMORY:
            # Not closed here: it is read for as long as it is mapped.
            self._stream = tempfile.TemporaryFile(prefix="finetune-")  # noqa: SIM115
            self._stream.write(stream.getbuffer())
        return self._stream.write(data)

    def read_buffer(self) -> memoryview:
        """Return what was written, to be read alone."""
        if isinstance(self._stream, io.BytesIO):
            return self._stream.getbuffer().toreadonly()
        self._stream.flush()
        with self._stream as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))

    def read_array(self, kind: DTypeLike) -> NDArray[Any]:
        """Return what was written as an array (values,) of that kind, to be read alone."""
        return np.frombuffer(self.read_buffer(), dtype=kind)


def store_rows(tables: "Iterable[pa.Table]") -> "pa.Table":
    """Return the rows of some tables, at least one, as one table; each is written as it comes."""
    import pyarrow as pa

    remaining = iter(tables)
    first = next(remaining)
    spool = Spool()
    with pa.ipc.new_stream(pa.PythonFile(spool, mode="w"), first.schema) as writer:
        writer.write_table(first)
        for table in remaining:
            writer.write_table(table)
    return pa.ipc.open_stream(pa.py_buffer(spool.read_buffer())).read_all()


def build_examples(table: "pa.Table") -> "Dataset":
    """Return a table as examples."""
    from datasets import Dataset
    from datasets.fingerprint import generate_random_fingerprint

    # The library would else hash a copy of all rows, for a cache that isn't used.
    return Dataset(table, fingerprint=generate_random_fingerprint())


def cut_rows(examples: "Dataset") -> "Iterator[Dataset]":
    """Go through examples some rows at a time, in their order."""
    if len(examples) <= ROWS_A_CHUNK:
        yield examples
        return
    for begin in range(0, len(examples), ROWS_A_CHUNK):
        yield examples.select(range(begin, min(begin + ROWS_A_CHUNK, len(examples))))


def keep_rows(examples: "Dataset", is_kept: NDArray[np.bool_]) -> "Dataset":
    """Return the rows for which `is_kept` (rows,) holds, in their order."""
    import pyarrow as pa

    def keep() -> "Iterator[pa.Table]":
        begin = 0
        for part in cut_rows(examples):
            yield part.with_format("arrow")[:].filter(pa.array(is_kept[begin : begin + len(part)]))
            begin += len(part)

    return build_examples(store_rows(keep()))


class _LazyRows(Sequence[T], Generic[T]):
    """What is read of each row, some rows at a time; the last of these are remembered."""

    def __init__(self, examples: "Dataset", read: "Callable[[Dataset], Sequence[T]]") -> None:
        self._examples, self._read = examples, read
        self._chunk, self._number = read(examples.select(range(0))), -1

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return self._read(self._examples.select(range(len(self))[place]))
        number, inside = divmod(range(len(self))[place], ROWS_A_CHUNK)
        if number != self._number:
            self._chunk, self._number = self[number * ROWS_A_CHUNK : (number + 1) * ROWS_A_CHUNK], number
        return self._chunk[inside]

    def __iter__(self) -> Iterator[T]:
        for part in cut_rows(self._examples):
            yield from self._read(part)


def read_rows(examples: "Dataset", read: "Callable[[Dataset], Sequence[T]]") -> Sequence[T]:
    """Return what `read` makes of examples, one value a row: at once where they are few, else whenever it is asked for."""
    return read(examples) if len(examples) <= ROWS_A_CHUNK else _LazyRows(examples, read)
