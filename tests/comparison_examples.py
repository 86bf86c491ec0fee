"""Finished runs written by hand, for the tests of comparisons: folders as runs leave them, of known answers.

Owns how such a folder is made; what is true of the answers is decided by each test.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.compare import compare_runs
from finetune.comparison_records import Comparison
from finetune.prediction_records import EvaluatedRow, Prediction
from finetune.record_files import write_lines, write_record
from finetune.records import SeedRecord
from finetune.run_dir import RunDir
from tests.report_examples import build_data, build_provenance, build_scores, single_seed

LABELS = ("unacceptable", "acceptable")


def draw_expected(rows: int, seed: int = 0) -> NDArray[np.int64]:
    """Return label ids (rows,), 7 of 10 of them 1."""
    return (np.random.default_rng(seed).random(rows) < 0.7).astype(np.int64)


def draw_probabilities(
    expected: NDArray[np.int64], strength: float, seed: int, shared: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return probabilities (rows, 2) that know the label the better the larger `strength` is; `shared` noise is that of two models."""
    noise = np.random.default_rng([seed, 7]).normal(size=len(expected))
    if shared is not None:
        noise = 0.8 * shared + 0.6 * noise
    positive = 1 / (1 + np.exp(-(noise + strength * (2 * expected - 1))))
    return np.stack([1 - positive, positive], axis=1)


def write_run(
    path: Path,
    expected: NDArray[np.int64],
    by_seed: Sequence[NDArray[np.float64]],
    *,
    labels: Sequence[str] = LABELS,
    texts: Sequence[Sequence[str]] | None = None,
    groups: Sequence[str | None] | None = None,
    with_rows: bool = True,
    metrics: Sequence[str] | None = None,
    provenance: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write the folder of a finished run whose seeds gave the probabilities (rows, labels) to rows with these label ids."""
    path.mkdir(parents=True)
    top = RunDir(path)
    shown = [list(some) for some in texts] if texts is not None else [[f"Sentence {n}."] for n in range(len(expected))]
    names = [labels[label] for label in expected]
    keys = [_hash([text, name]) for text, name in zip(shown, names, strict=True)]
    if with_rows:
        write_lines(
            top.rows,
            [
                EvaluatedRow(
                    row=f"test/{number}",
                    key=keys[number],
                    texts=shown[number],
                    label=names[number],
                    group=groups[number] if groups is not None else None,
                )
                for number in range(len(expected))
            ],
        )
    for number, probabilities in enumerate(by_seed, 1):
        if len(by_seed) > 1:
            top.seed(number).path.mkdir()
            write_lines(top.seed(number).predictions, list_predictions(names, probabilities, labels))
    write_lines(top.predictions, list_predictions(names, np.mean(by_seed, axis=0), labels))
    data = build_data(labels)
    counts = {name: names.count(name) for name in labels}
    test = data.splits[1].model_copy(
        update={"rows": len(expected), "labels": counts, "fingerprint": _hash([*zip(shown, names, strict=True)])}
    )
    scores = [score for score in build_scores() if metrics is None or score.name in metrics]
    seeds = [
        SeedRecord(seed=number, score=0.2, dev_score=None, collapsed_to=None, train_seconds=391.2, final_loss=0.43)
        for number in range(1, len(by_seed) + 1)
    ]
    report = single_seed(
        **{
            "name": path.name,
            "data": data.model_copy(update={"splits": [data.splits[0], test]}),
            "scores": scores,
            "seeds": seeds,
            "provenance": build_provenance(**(provenance or {})),
            **changes,
        }
    )
    write_record(top.report, report)
    return path


def list_predictions(
    names: Sequence[str], probabilities: NDArray[np.float64], labels: Sequence[str] = LABELS
) -> list[Prediction]:
    """Return one prediction a row, of the most probable label."""
    return [
        Prediction(
            row=f"test/{number}",
            split="test",
            expected=name,
            predicted=labels[int(np.argmax(row))],
            probabilities=[float(value) for value in row],
        )
        for number, (name, row) in enumerate(zip(names, probabilities, strict=True))
    ]


def write_pair(
    folder: Path, rows: int = 600, strengths: tuple[float, float] = (0.4, 1.6), seeds: int = 1
) -> list[Path]:
    """Write two runs on the same rows, of models that know the labels better or worse."""
    expected = draw_expected(rows)
    shared = np.random.default_rng(99).normal(size=rows)
    return [
        write_run(
            folder / name,
            expected,
            [draw_probabilities(expected, strength, 10 * number + seed, shared) for seed in range(seeds)],
        )
        for number, (name, strength) in enumerate(zip(("first", "second"), strengths, strict=True), 1)
    ]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON lines of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_json_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write JSON lines as they are, right or wrong."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def compare_quickly(paths: Sequence[Path], **options: Any) -> Comparison:
    """Return a comparison with few resamples."""
    return compare_runs(paths, **{"resamples": 300, "command": "finetune compare first second", **options})


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
