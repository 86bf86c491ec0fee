"""What a careful reader asks of rows before trusting a score: balance, duplicates, contradictions, leaks, and a fingerprint.

Owns the judgement, changes no row. Two texts are equal when they differ only in letter case and white space.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune.records import DataRecord, SplitRecord
from finetune.task import Part

LABELS_SHOWN = 6

if TYPE_CHECKING:
    from datasets import Dataset


def normalise(text: str) -> str:
    """Return the text without letter case and with single spaces, for comparing."""
    return " ".join(text.casefold().split())


def text_keys(examples: "Dataset") -> list[int]:
    """Return a 64-bit hash of the normalised text, or pair of texts, of each row."""
    texts = [normalise(text) for text in examples["text"]]
    if "text_pair" in examples.column_names:
        texts = [f"{text}\0{normalise(pair)}" for text, pair in zip(texts, examples["text_pair"], strict=True)]
    return [
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) for text in texts
    ]


def build_split_record(part: Part, examples: "Dataset", origin: str, label_names: Sequence[str]) -> SplitRecord:
    """Return the checks and the fingerprint of one split."""
    labels = list(examples["label"])
    by_key: dict[int, set[int]] = {}
    for key, label in zip(text_keys(examples), labels, strict=True):
        by_key.setdefault(key, set()).add(label)
    counts = Counter(labels)
    return SplitRecord(
        part=part,
        origin=origin,
        rows=len(examples),
        labels={name: counts[label] for label, name in enumerate(label_names)},
        duplicates=len(labels) - len(by_key),
        contradictions=sum(len(found) > 1 for found in by_key.values()),
        groups=len(set(examples["group"])) if "group" in examples.column_names else None,
        empty=sum(not text.strip() for text in examples["text"]),
        fingerprint=fingerprint(examples, label_names),
    )


def hash_row(texts: Sequence[str], label: str) -> str:
    """Return 16 hexadecimal digits that name a row by its texts and label, the same wherever it stands."""
    return hashlib.sha256(_canonical(texts, label)).hexdigest()[:16]


def _canonical(texts: Sequence[str], label: str) -> bytes:
    return json.dumps([list(texts), label], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def fingerprint(examples: "Dataset", label_names: Sequence[str]) -> str:
    """Return the SHA-256 over the canonical JSON of ([texts], label name) of each row, in order."""
    digest = hashlib.sha256()
    columns = [examples[name] for name in ("text", "text_pair") if name in examples.column_names]
    for *texts, label in zip(*columns, examples["label"], strict=True):
        digest.update(_canonical(texts, label_names[label]) + b"\n")
    return digest.hexdigest()


def find_shared_rows(train: "Dataset", examples: "Dataset") -> list[str]:
    """Return the row ids of `examples` whose text stands in `train`."""
    seen = set(text_keys(train))
    return [row for row, key in zip(examples["row"], text_keys(examples), strict=True) if key in seen]


def describe_rows(record: DataRecord) -> list[str]:
    """Return a line for each split, and one on rows shared with train: what the checks found, for the terminal."""
    lines = []
    for split in record.splits:
        balance = ", ".join(f"{name} {count:,}" for name, count in list(split.labels.items())[:LABELS_SHOWN])
        more = ", ..." if len(split.labels) > LABELS_SHOWN else ""
        truncated = "" if split.truncated is None else f"; {split.truncated:,} truncated"
        lines.append(
            f"{split.part}: {split.rows:,} rows ({balance}{more}); {split.duplicates:,} duplicates, "
            f"{split.contradictions:,} texts with several labels, {split.empty:,} empty{truncated}"
        )
    lines += [f"{len(shared.rows):,} {shared.part} rows stand in train too" for shared in record.shared_with_train]
    return lines
