"""A run on disk: the only module that spells the file names of a run.

Owns the names, and reading and writing the records whole. The life of the folder is `run_folder`; what the records hold is decided by
their writers.
"""

import json
import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from finetune.errors import DataError, MissingInputError, PermissionDeniedError, StoppedError, StorageError
from finetune.machine import is_gone
from finetune.prediction_records import EvaluatedRow, Prediction
from finetune.records import SCHEMA_VERSION, Beginning, DataRecord, Measurement, Report, Status

R = TypeVar("R", bound=BaseModel)
_FIRST_VERSION = re.compile(r'^(\{\s*"schema_version":\s*)1(?=\s*[,}])')


@dataclass(frozen=True)
class RunDir:
    """The folder of a run, or of one seed of it, and the names of what lies inside."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def status(self) -> Path:
        """How the run stands."""
        return self.path / "status.json"

    @property
    def lock(self) -> Path:
        """Names the process that writes here."""
        return self.path / "run.lock"

    @property
    def data(self) -> Path:
        """Rows, checks and fingerprints."""
        return self.path / "data.json"

    @property
    def beginning(self) -> Path:
        """Code, versions and machine that a run began with."""
        return self.path / "beginning.json"

    @property
    def events(self) -> Path:
        """One JSON line a logged moment of training."""
        return self.path / "events.jsonl"

    @property
    def predictions(self) -> Path:
        """One JSON line a test row, in file order."""
        return self.path / "predictions.jsonl"

    @property
    def dev_predictions(self) -> Path:
        """The same for dev rows, where something was fitted on them after training."""
        return self.path / "dev_predictions.jsonl"

    @property
    def start_predictions(self) -> Path:
        """The same for test rows before training, of an objective that is measured then."""
        return self.path / "start_predictions.jsonl"

    @property
    def rows(self) -> Path:
        """One JSON line a test row: its texts and label, in the order of the predictions."""
        return self.path / "rows.jsonl"

    @property
    def measurement(self) -> Path:
        """What training one seed took."""
        return self.path / "training.json"

    @property
    def report(self) -> Path:
        """The record that reports are rendered from."""
        return self.path / "report.json"

    @property
    def report_markdown(self) -> Path:
        """The report for pull requests."""
        return self.path / "report.md"

    @property
    def report_html(self) -> Path:
        """The report for browsers."""
        return self.path / "report.html"

    @property
    def comparison(self) -> Path:
        """The record of a comparison of runs."""
        return self.path / "comparison.json"

    @property
    def comparison_markdown(self) -> Path:
        """The comparison for pull requests."""
        return self.path / "comparison.md"

    @property
    def comparison_html(self) -> Path:
        """The comparison for browsers."""
        return self.path / "comparison.html"

    @property
    def model(self) -> Path:
        """The fitted model with its tokenizer and label names."""
        return self.path / "model"

    @property
    def decision(self) -> Path:
        """Temperature and threshold of the model, where they were fitted on dev."""
        return self.model / "decision.json"

    @property
    def model_card(self) -> Path:
        """What the model is, for whoever finds it."""
        return self.model / "README.md"

    @property
    def checkpoints(self) -> Path:
        """States to resume training from."""
        return self.path / "checkpoints"

    def picture(self, name: str) -> Path:
        """A picture that the Markdown report shows."""
        return self.path / f"{name}.svg"

    def seed(self, seed: int) -> "RunDir":
        """The sub-folder of one seed."""
        return RunDir(self.path / f"seed-{seed}")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside, flushed to the disk, then renamed.

    Raises:
        StorageError: the disk is full or failed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free // 2**20
        raise StorageError(f"{path}: can't be written ({error.strerror}; {free} MB free)") from None


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_text(path, json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_status(run_dir: RunDir, state: str, message: str, exit_code: int | None = None) -> None:
    """Write how the run stands."""
    write_record(
        run_dir.status,
        Status.model_validate(
            {
                "state": state,
                "message": message,
                "exit_code": exit_code,
                "process_id": os.getpid(),
                "host": socket.gethostname(),
                "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        ),
    )


def read_status(run_dir: RunDir) -> Status | None:
    """Return how a run stands, or None where no status was written."""
    if not run_dir.status.exists():
        return None
    status = _read(Status, run_dir.status)
    if status.state != "running" or not is_gone(status.process_id, status.host):
        return status
    # Killed, or the machine went down: it had no time to say so.
    message = "the process is gone; finetune run RECIPE --resume continues it"
    return status.model_copy(update={"state": "stopped", "message": message, "exit_code": StoppedError.exit_code})


def read_data_record(run_dir: RunDir) -> DataRecord:
    """Return what `data.json` says."""
    return _read(DataRecord, run_dir.data)


def read_beginning(run_dir: RunDir) -> Beginning | None:
    """Return what a run began with, or None where it had not come to write it."""
    return _read(Beginning, run_dir.beginning) if run_dir.beginning.exists() else None


def read_measurement(run_dir: RunDir) -> Measurement | None:
    """Return what training a seed took, or None where the seed isn't finished."""
    return _read(Measurement, run_dir.measurement) if run_dir.measurement.exists() else None


def read_report(run_dir: RunDir) -> Report:
    """Return the report of a completed run.

    Raises:
        MissingInputError: no such folder, or the run isn't complete.
        DataError: the file is no report, or one of another schema version.
    """
    if not run_dir.path.is_dir():
        raise MissingInputError(f"{run_dir.path}: no such run folder")
    if not run_dir.report.exists():
        status = read_status(run_dir)
        state = f"the run is {status.state}: {status.message}" if status else "it is no run folder"
        raise MissingInputError(f"{run_dir.path}: no {run_dir.report.name}; {state}")
    text = _read_text(run_dir.report)
    # Version 1 lacks what version 2 added, all of which has a default that says "not measured".
    return _parse(Report, run_dir.report, _FIRST_VERSION.sub(rf"\g<1>{SCHEMA_VERSION}", text, count=1))


def _read(kind: type[R], path: Path) -> R:
    return _parse(kind, path, _read_text(path))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except PermissionError:
        raise PermissionDeniedError(f"{path}: no permission to read this file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _parse(kind: type[R], path: Path, text: str) -> R:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            allowed = f"1 to {SCHEMA_VERSION}"
            raise DataError(
                f"{path}: written in schema version {first['input']}, this program reads versions {allowed}"
            ) from None
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: not a {_in_words(kind)} of this program: {where or 'file'}: {first['msg']}") from None


def _in_words(kind: type[BaseModel]) -> str:
    """Return the name of a kind of record as people write it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def write_lines(path: Path, records: Iterable[BaseModel]) -> None:
    """Write records as JSON lines, in the order given."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Go through the predictions of a run; raises as `read_lines`."""
    return read_lines(Prediction, path)


def read_rows(path: Path) -> Iterator[EvaluatedRow]:
    """Go through the test rows of a run; raises as `read_lines`."""
    return read_lines(EvaluatedRow, path)


def read_lines(kind: type[R], path: Path) -> Iterator[R]:
    """Go through the records of one kind in a file.

    Raises:
        MissingInputError, DataError: there is no such file, or a line is no such record.
    """
    if not path.exists():
        raise MissingInputError(f"{path}: no such file")
    # Not splitlines(), which also splits at separators that a text may hold.
    lines = _read_text(path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines if lines != [""] else (), 1):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path}:{number}: not a {_in_words(kind)}: {error.errors()[0]['msg']}") from None
