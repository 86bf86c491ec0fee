"""Every reader of files and words that strangers may have written, as a function of bytes, with valid bytes to begin from.

Owns what is fuzzed; `test_fuzz` draws the bytes from a seed in each test run, `fuzz` steers them by coverage for as long as one likes. A
target may end well or with one of our errors; anything else that it raises is a fault.
"""

import io
import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from finetune.checkpoint import open_checkpoint
from finetune.checkpoint_files import MANIFEST, fill_checkpoint, seal_checkpoint, verify_checkpoint
from finetune.decisions import read_decision
from finetune.documents import open_documents
from finetune.errors import FinetuneError
from finetune.findings import Decision
from finetune.prediction_records import LanguagePrediction, MultilabelPrediction, Prediction, RegressionPrediction
from finetune.predictions import read_answers
from finetune.readers import open_table
from finetune.recipe_file import load_recipe
from finetune.records import Report
from finetune.render import list_pictures, render_console, render_html, render_markdown
from finetune.run_dir import (
    RunDir,
    read_beginning,
    read_data_record,
    read_measurement,
    read_report,
    read_rows,
    read_status,
)
from finetune.run_folder import create_run_dir, unlock
from finetune.run_records import Beginning, Measurement, Status
from finetune.task import Documents
from tests.report_examples import build_data, single_seed

RECIPE = b"""# A comment.
task: text-classification
model: {checkpoint: ./model, sha256: null}
data:
  path: {train: rows.csv, test: "test.csv"}
  columns: {text: text, label: 2}
  labels: {"0": bad, "1": good}
train: {epochs: 2, learning_rate: 3e-5, class_weights: [1.0, 2.5], extra: {optim: adamw_torch}}
evaluate: {bootstrap: 100, slices: [length]}
seeds: [1, 2]
expect: {accuracy: {low: 0.5, high: 0.9, source: "a paper, p. 3"}}
note: 'it''s'
"""
OVERRIDES = b"train.learning_rate=3e-5\0data.columns.label=2\0seeds=[1, 2]\0evaluate.slices=null"

# What parsers stumble over, in the alphabet of the formats read here.
TOKENS = (
    *(bytes([letter]) for letter in b"\t\n\r\0 ,;:\"'{}[]&*!|>#%@`=-\xff\xc3"),
    *(b"\xef\xbb\xbf", b"\\ud800", b"\xed\xa0\x80", "\u2028\u202e\u200b".encode(), b"NaN", b"Infinity", b"1e999"),
    *(b"-1", b"null", b"true", b"[[[[", b"0x10", b"1_0", b"9" * 30, b"9" * 5000, b"---\n", b"<<: ", b"../", b"PAR1"),
    *(b"[" * 3000, b'{"a":' * 3000),
)


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        read: what reads the bytes, given an empty folder of its own.
        seeds: bytes that it reads without an error.
    """

    read: Callable[[bytes, Path], object]
    seeds: tuple[bytes, ...]


def _read_recipe(content: bytes, folder: Path) -> None:
    (folder / "r.yaml").write_bytes(content)
    load_recipe(folder / "r.yaml")


def _read_overrides(content: bytes, folder: Path) -> None:
    (folder / "r.yaml").write_bytes(RECIPE)
    # As Python gives a command line to a program.
    load_recipe(folder / "r.yaml", content.decode("utf-8", "surrogateescape").split("\0"))


def _read_table(suffix: str, **options: Any) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        path = folder / f"rows{suffix}"
        path.write_bytes(content)
        table = open_table(path, **options)
        assert all(len(row.cells) == len(table.columns) for row in table.rows)

    return read


def _read_documents(content: bytes, folder: Path) -> None:
    path = folder / "rows.txt"
    path.write_bytes(content)
    for kind in get_args(Documents):
        try:
            deque(open_documents(path, kind).rows, maxlen=0)
        except FinetuneError:
            # The others may still have something to say of the same bytes.
            continue


def _read_manifest(content: bytes, folder: Path) -> None:
    (folder / "checkpoint-3").mkdir()
    (folder / "checkpoint-3" / "model.safetensors").write_bytes(b"weights")
    (folder / "checkpoint-3" / MANIFEST).write_bytes(content)
    verify_checkpoint(folder / "checkpoint-3")


def _read_state(content: bytes, folder: Path) -> None:
    from finetune.training_state import MOMENTS, STATE, read_state, restore_generators, restore_optimizer

    (folder / MOMENTS).write_bytes(_state_files()[1])
    (folder / STATE).write_bytes(content)
    _, optimizer, schedule = _build_training()
    for process in read_state(folder)["processes"]:
        restore_generators(process.get("generators", {}))
    restore_optimizer(folder, optimizer, schedule)


def _read_weights(content: bytes, folder: Path) -> None:
    from finetune.training_state import WEIGHTS, restore_weights

    (folder / WEIGHTS).write_bytes(content)
    restore_weights(folder, _build_training()[0])


def _read_moments(content: bytes, folder: Path) -> None:
    from finetune.training_state import MOMENTS, STATE, restore_optimizer

    model, optimizer, schedule = _build_training()
    (folder / MOMENTS).write_bytes(content)
    (folder / STATE).write_bytes(_state_files()[2])
    restore_optimizer(folder, optimizer, schedule)
    # A step shows whether memory is safe; that a moment is missing torch may say itself.
    with suppress(KeyError):
        _train(model, optimizer, schedule)


def _read_shards(content: bytes, folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder / "model-1.safetensors").write_bytes(_state_files()[0])
    (folder / "model.safetensors.index.json").write_bytes(content)
    open_checkpoint(folder, "./model")


def _read_report(content: bytes, folder: Path) -> None:
    from rich.console import Console

    RunDir(folder).report.write_bytes(content)
    report = read_report(RunDir(folder))
    # Drawing takes most of the time, and its names would be missed.
    render_html(report, dict.fromkeys(list_pictures(report), "<svg></svg>"))
    render_markdown(report)
    Console(file=io.StringIO(), width=80).print(render_console(report))


def _read_small_record(content: bytes, folder: Path) -> None:
    run_dir = RunDir(folder)
    run_dir.model.mkdir()
    for path in (run_dir.status, run_dir.beginning, run_dir.measurement, run_dir.data, run_dir.decision):
        path.write_bytes(content)
    readers: Iterable[Callable[[], object]] = (
        lambda: read_status(run_dir),
        lambda: read_beginning(run_dir),
        lambda: read_measurement(run_dir),
        lambda: read_data_record(run_dir),
        lambda: read_decision(run_dir.decision),
    )
    for read in readers:
        try:
            read()
        except FinetuneError:
            continue


def _read_predictions(content: bytes, folder: Path) -> None:
    RunDir(folder).predictions.write_bytes(content)
    read_answers(RunDir(folder).predictions, ("no", "yes"))


def _read_rows(content: bytes, folder: Path) -> None:
    RunDir(folder).rows.write_bytes(content)
    deque(read_rows(RunDir(folder).rows), maxlen=0)


def _read_lock(content: bytes, folder: Path) -> None:
    RunDir(folder).lock.write_bytes(content)
    unlock(create_run_dir(folder, resume=True))


def _build_training() -> tuple[Any, Any, Any]:
    from torch import nn, optim

    model = nn.Linear(2, 2)
    optimizer = optim.AdamW(model.parameters(), 0.1, fused=True)
    return model, optimizer, optim.lr_scheduler.LambdaLR(optimizer, lambda number: 1 / (number + 1))


def _train(model: Any, optimizer: Any, schedule: Any) -> None:
    sum(weight.sum() for weight in model.parameters()).backward()
    optimizer.step()
    schedule.step()


@cache
def _state_files() -> tuple[bytes, bytes, bytes]:
    """Return a checkpoint of a training of two steps: weights, moments, the rest."""
    import tempfile

    from finetune.training_state import MOMENTS, STATE, WEIGHTS, capture_generators, write_state

    model, optimizer, schedule = _build_training()
    for _ in range(2):
        _train(model, optimizer, schedule)
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder), model, optimizer, schedule, None, [{"generators": capture_generators()}])
        weights, moments, state = ((Path(folder) / name).read_bytes() for name in (WEIGHTS, MOMENTS, STATE))
    return weights, moments, state


def _dump(*records: BaseModel) -> bytes:
    return b"\n".join(record.model_dump_json().encode() for record in records)


def _shorten(report: Report) -> Report:
    """Return a report in which no list is so long that changes seldom meet anything else."""
    assert report.curves is not None
    curves = report.curves.model_copy(
        update={name: getattr(report.curves, name)[:3] for name in ("roc", "precision_recall")}
    )
    return report.model_copy(update={"curves": curves, "history": report.history[:3], "scores": report.scores[:14]})


def _write_manifest() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        beside = fill_checkpoint(
            Path(folder), 3, lambda inside: (inside / "model.safetensors").write_bytes(b"weights") and None
        )
        seal_checkpoint(beside, 3)
        return (Path(folder) / "checkpoint-3" / MANIFEST).read_bytes()


def _write_parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"], "label": [1, 0]}), sink)
    return sink.getvalue()


def _write_small_records() -> tuple[bytes, ...]:
    running = Status(state="running", exit_code=None, message="", process_id=1, host="here", updated="2026-01-01")
    beginning = Beginning(
        processes=1, threads=1, precision="fp32", device="cpu", checkpoint="", code="", versions={"torch": "2"}
    )
    took = Measurement(
        seed=1,
        train_seconds=1.0,
        examples_seen=2,
        tokens_seen=3,
        padded_tokens_seen=4,
        final_loss=0.5,
        dev_score=None,
        precision="fp32",
        parameters=10,
        notes=[],
    )
    decision = Decision(predictor="model", temperature=1.2, dev_rows=50)
    return tuple(_dump(record) for record in (running, beginning, took, build_data(), decision))


def _write_predictions() -> tuple[bytes, ...]:
    row: dict[str, Any] = {"row": "test/0", "split": "test"}
    both = {"expected": "no", "predicted": "yes", "probabilities": [0.25, 0.75]}
    sets = {"expected": ["no"], "predicted": [], "probabilities": [0.25, 0.4]}
    return (
        _dump(Prediction(**row, **both), Prediction(**row, **both)),
        _dump(RegressionPrediction(**row, expected=1.5, predicted=-2)),
        _dump(MultilabelPrediction(**row, **sets)),
        _dump(LanguagePrediction(**row, loss=3.5, tokens=2, right=1, text_bytes=9, next_sentence=both)),
    )


@cache
def build_targets() -> dict[str, Target]:
    """Return every target by its name."""
    shards = {"metadata": {"total_size": 24}, "weight_map": {"weight": "model-1.safetensors"}}
    row = {"row": "test/0", "key": "abc", "texts": ["a", "b"], "label": "no", "group": None}
    csv = b'text,label\n"a ""quoted"", cell",1\nb,0\n'
    return {
        "recipe": Target(_read_recipe, (RECIPE, b"extends: cola\nseeds: 3\n")),
        "overrides": Target(_read_overrides, (OVERRIDES,)),
        "csv": Target(_read_table(".csv"), (csv, b"\xef\xbb\xbftext,label\r\na,1\r\n")),
        "csv without header": Target(_read_table(".csv", header=False, delimiter=";"), (b"a;1\nb;0\n",)),
        "tsv": Target(_read_table(".tsv"), (b'text\tlabel\na "quote\t1\n\n',)),
        "jsonl": Target(_read_table(".jsonl"), (b'{"text": "a\\u00e9", "label": 1}\n{"text": null, "label": true}\n',)),
        "parquet": Target(_read_table(".parquet"), (_write_parquet(),)),
        "documents": Target(_read_documents, (b" = Title = \n\nA line.\n\n = = Section = = \n\nAnother.\n",)),
        "manifest": Target(_read_manifest, (_write_manifest(),)),
        "state": Target(_read_state, (_state_files()[2],)),
        "weights": Target(_read_weights, _state_files()[:1]),
        "moments": Target(_read_moments, _state_files()[1:2]),
        "shards": Target(_read_shards, (json.dumps(shards).encode(),)),
        "report": Target(_read_report, (_dump(_shorten(single_seed())),)),
        "small records": Target(_read_small_record, _write_small_records()),
        "predictions": Target(_read_predictions, _write_predictions()),
        "rows": Target(_read_rows, (json.dumps(row).encode(),)),
        "lock": Target(_read_lock, (f"{os.getpid()}@{socket.gethostname()}".encode(),)),
    }
