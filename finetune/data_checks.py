"""What a careful reader asks of rows before trusting a score: balance, duplicates, contradictions, leaks, and a fingerprint.

Owns the judgement, changes no row. Two texts are equal when they differ only in letter case and white space.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finetune.records import DataRecord, SplitRecord
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


def text_keys(examples: "Dataset") -> list[int]:
    """Return a 64-bit hash of the normalised text, or pair of texts, of each row."""
    texts = [normalise(text) for text in read_column(examples, "text")]
    if "text_pair" in examples.column_names:
        texts = [
            f"{text}\0{normalise(pair)}" for text, pair in zip(texts, read_column(examples, "text_pair"), strict=True)
        ]
    return [
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) for text in texts
    ]


def build_split_record(part: Part, examples: "Dataset", origin: str, label_names: Sequence[str]) -> SplitRecord:
    """Return the checks and the fingerprint of one split."""
    keys = text_keys(examples)
    return SplitRecord(
        part=part,
        origin=origin,
        rows=len(examples),
        duplicates=len(keys) - len(set(keys)),
        groups=len(set(read_column(examples, "group"))) if "group" in examples.column_names else None,
        empty=sum(not text.strip() for text in read_column(examples, "text")),
        fingerprint=fingerprint(examples, label_names),
        **_describe_labels(examples, keys, label_names),
    )


def _describe_labels(examples: "Dataset", keys: Sequence[int], label_names: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a record that depend on what kind of label the rows have."""
    found = _labels_of(examples)
    if found is None:
        return {"labels": {}}
    if found.ndim == 2:
        counts = found.sum(axis=0)
        return {"labels": dict(zip(label_names, map(int, counts), strict=True))}
    if found.dtype.kind == "f":
        extent = {"lowest": float(found.min()), "mean": float(found.mean()), "highest": float(found.max())}
        return {"labels": {}, **extent}
    by_key: dict[int, set[int]] = {}
    for key, label in zip(keys, found.tolist(), strict=True):
        by_key.setdefault(key, set()).add(label)
    counts = np.bincount(found, minlength=len(label_names))
    return {
        "labels": {name: int(count) for name, count in zip(label_names, counts, strict=True)},
        "contradictions": sum(len(labels) > 1 for labels in by_key.values()),
    }


def _labels_of(examples: "Dataset") -> NDArray[Any] | None:
    """Return class ids (rows,), numbers (rows,), 0 and 1 (rows, labels), or None where nothing is learnt but text."""
    return np.asarray(read_column(examples, "label")) if "label" in examples.column_names else None


def label_texts(examples: "Dataset", label_names: Sequence[str]) -> list[str]:
    """Return the label of each row in words: its class, its number, the names of those that hold; empty where it has none."""
    found = _labels_of(examples)
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
    columns = [read_column(examples, name) for name in ("text", "text_pair") if name in examples.column_names]
    for *texts, label in zip(*columns, label_texts(examples, label_names), strict=True):
        digest.update(_canonical(texts, label) + b"\n")
    return digest.hexdigest()


def find_shared_rows(train: "Dataset", examples: "Dataset") -> list[str]:
    """Return the row ids of `examples` whose text stands in `train`."""
    seen = set(text_keys(train))
    return [row for row, key in zip(read_column(examples, "row"), text_keys(examples), strict=True) if key in seen]


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
