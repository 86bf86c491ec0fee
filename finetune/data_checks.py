"""What a careful reader asks of rows before trusting a score: balance, duplicates, contradictions, leaks, and a fingerprint.

Owns the judgement, changes no row. Two texts are equal when they differ only in letter case and white space, which is found by 64-bit
hashes: that two different ones among 5 million are taken for equal has a chance of 7 in 10 million.
"""

import hashlib
import json
from collections.abc import Sequence
from itertools import chain, compress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finetune.records import DataRecord, SplitRecord
from finetune.row_store import cut_rows, read_rows
from finetune.task import Part

LABELS_SHOWN = 6

if TYPE_CHECKING:
    from datasets import Dataset


def read_column(examples: "Dataset", name: str) -> list[Any]:
    """Return a whole column, in one piece: the library takes ten to forty times as long to read it row by row."""
    return examples[name][:]


def normalise(text: str) -> str:
    """Return the text without letter case and with single spaces, for comparing."""
    return " ".join(text.casefold().split())


def read_labels(examples: "Dataset") -> NDArray[Any] | None:
    """Return class ids (rows,), numbers (rows,), 0 and 1 (rows, labels), or None where nothing is learnt but text."""
    if "label" not in examples.column_names:
        return None
    return np.concatenate([np.asarray(read_column(part, "label")) for part in cut_rows(examples)])


def text_keys(examples: "Dataset") -> NDArray[np.uint64]:
    """Return a 64-bit hash of the normalised text, or pair of texts, of each row, (rows,)."""
    return np.concatenate([_hash_texts(part) for part in cut_rows(examples)])


def _hash_texts(examples: "Dataset") -> NDArray[np.uint64]:
    texts = [normalise(text) for text in read_column(examples, "text")]
    if "text_pair" in examples.column_names:
        texts = [
            f"{text}\0{normalise(pair)}" for text, pair in zip(texts, read_column(examples, "text_pair"), strict=True)
        ]
    return np.array([_hash(text) for text in texts], dtype=np.uint64)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def build_split_record(part: Part, examples: "Dataset", origin: str, label_names: Sequence[str]) -> SplitRecord:
    """Return the checks and the fingerprint of one split."""
    keys = text_keys(examples)
    return SplitRecord(
        part=part,
        origin=origin,
        rows=len(examples),
        duplicates=len(keys) - len(np.unique(keys)),
        groups=_count_groups(examples) if "group" in examples.column_names else None,
        empty=sum(not text.strip() for part in cut_rows(examples) for text in read_column(part, "text")),
        fingerprint=fingerprint(examples, label_names),
        **_describe_labels(examples, keys, label_names),
    )


def _count_groups(examples: "Dataset") -> int:
    keys = [_hash(name) for part in cut_rows(examples) for name in set(read_column(part, "group"))]
    return len(np.unique(np.array(keys, dtype=np.uint64)))


def _describe_labels(examples: "Dataset", keys: NDArray[np.uint64], label_names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a record that depend on what kind of label the rows have."""
    found = read_labels(examples)
    if found is None:
        return {"labels": {}}
    if found.ndim == 2:
        counts = found.sum(axis=0)
        return {"labels": dict(zip(label_names, map(int, counts), strict=True))}
    if found.dtype.kind == "f":
        extent = {"lowest": float(found.min()), "mean": float(found.mean()), "highest": float(found.max())}
        return {"labels": {}, **extent}
    counts = np.bincount(found, minlength=len(label_names))
    return {
        "labels": {name: int(count) for name, count in zip(label_names, counts, strict=True)},
        "contradictions": _count_contradictions(keys, found),
    }


def _count_contradictions(keys: NDArray[np.uint64], labels: NDArray[Any]) -> int:
    """Return how many texts have several labels; both are (rows,)."""
    order = np.lexsort((labels, keys))
    keys, labels = keys[order], labels[order]
    differs = (keys[1:] == keys[:-1]) & (labels[1:] != labels[:-1])
    return len(np.unique(keys[1:][differs]))


def label_texts(examples: "Dataset", label_names: Sequence[str]) -> Sequence[str]:
    """Return the label of each row in words: its class, its number, the names of those that hold; empty where it has none."""
    return read_rows(examples, lambda rows: _write_labels(rows, label_names))


def _write_labels(examples: "Dataset", label_names: Sequence[str]) -> list[str]:
    found = read_labels(examples)
    if found is None:
        return [""] * len(examples)
    if found.ndim == 2:
        return [" + ".join(name for name, holds in zip(label_names, row, strict=True) if holds) for row in found]
    if found.dtype.kind == "f":
        return [repr(number) for number in found.tolist()]
    return [label_names[label] for label in found]


def hash_row(texts: Sequence[str], label: str) -> str:
    """Return 16 hexadecimal digits that name a row by its texts and label in words, the same wherever it stands."""
    return hashlib.sha256(_canonical(texts, label)).hexdigest()[:16]


def _canonical(texts: Sequence[str], label: str) -> bytes:
    return json.dumps([list(texts), label], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def fingerprint(examples: "Dataset", label_names: Sequence[str]) -> str:
    """Return the SHA-256 over the canonical JSON of ([texts], label in words) of each row, in order."""
    digest = hashlib.sha256()
    names = [name for name in ("text", "text_pair") if name in examples.column_names]
    for part in cut_rows(examples):
        columns = [read_column(part, name) for name in names]
        for *texts, label in zip(*columns, label_texts(part, label_names), strict=True):
            digest.update(_canonical(texts, label) + b"\n")
    return digest.hexdigest()


def is_shared(examples: "Dataset", others: "Dataset") -> NDArray[np.bool_]:
    """Return whether the text of each row stands in the others too, (rows,)."""
    return np.isin(text_keys(examples), text_keys(others))


def find_shared_rows(train: "Dataset", examples: "Dataset") -> list[str]:
    """Return the row ids of `examples` whose text stands in `train`."""
    rows = chain.from_iterable(read_column(part, "row") for part in cut_rows(examples))
    return list(compress(rows, is_shared(examples, train)))


def describe_rows(record: DataRecord) -> list[str]:
    """Return a line for each split, and one on rows shared with train: what the checks found, for the terminal."""
    lines = [f"{split.part}: {_describe_split(split)}" for split in record.splits]
    lines += [f"{len(shared.rows):,} {shared.part} rows stand in train too" for shared in record.shared_with_train]
    return lines


def _describe_split(split: SplitRecord) -> str:
    inside = [f"{name} {count:,}" for name, count in list(split.labels.items())[:LABELS_SHOWN]]
    inside += ["..."] if len(split.labels) > LABELS_SHOWN else []
    if split.mean is not None:
        inside = [f"{split.lowest:g} to {split.highest:g}, mean {split.mean:.3g}"]
    labels = f" ({', '.join(inside)})" if inside else ""
    contradictions = "" if split.contradictions is None else f"{split.contradictions:,} texts with several labels, "
    truncated = "" if split.truncated is None else f"; {split.truncated:,} truncated"
    return f"{split.rows:,} rows{labels}; {split.duplicates:,} duplicates, {contradictions}{split.empty:,} empty{truncated}"
