"""A run on disk: the only module that spells the file names of a run.

Owns the names, and which record lies where; files of records are `record_files`. The life of the folder is `run_folder`; what the records
hold is decided by their writers.
"""

import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from finetune.errors import FinetuneError, MissingInputError, StoppedError
from finetune.machine import is_gone
from finetune.manifests import refuse_changed_files, write_run_manifest
from finetune.prediction_records import EvaluatedRow, Prediction
from finetune.record_files import parse_record, read_lines, read_record, read_text, write_record
from finetune.records import SCHEMA_VERSION, DataRecord, Report
from finetune.run_records import Beginning, Measurement, Status

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

    def status_of(self, rank: int) -> Path:
        """How the run stands as the process of a rank knows it, which others than the first only leave when they fail."""
        return self.path / f"status-{rank}.json" if rank else self.status

    def other_statuses(self) -> list[Path]:
        """What other processes than the first have left."""
        return sorted(self.path.glob("status-*.json"))

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
    def manifest(self) -> Path:
        """Sizes and hashes of what a complete run consists of."""
        return self.path / "manifest.json"

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

    def list_records(self) -> list[Path]:
        """The records of a complete run and of its seeds, none of which is written again."""
        found = []
        for run in (self, *(RunDir(path) for path in sorted(self.path.glob("seed-*")))):
            found += [run.recipe, run.data, run.beginning, run.events, run.rows, run.measurement, run.report]
            found += [run.predictions, run.dev_predictions, run.start_predictions]
        return [path for path in found if os.path.lexists(path)]

    def list_model_files(self) -> list[Path]:
        """What the fitted model consists of; its card is for people to go on with."""
        return [path for path in sorted(self.model.glob("*")) if path != self.model_card and not path.is_dir()]


def write_status(run_dir: RunDir, state: str, message: str, exit_code: int | None = None, *, rank: int = 0) -> None:
    """Write how the run stands, as the process of this rank knows it; a run that begins forgets what was said before."""
    if state == "running":
        for path in run_dir.other_statuses():
            path.unlink(missing_ok=True)
    write_record(
        run_dir.status_of(rank),
        Status.model_validate(
            {
                "state": state,
                "message": message,
                "exit_code": exit_code,
                "process_id": os.getpid(),
                "host": socket.gethostname(),
                "updated": datetime.now(UTC).isoformat(timespec="microseconds"),
            }
        ),
    )


def complete_run(run_dir: RunDir) -> None:
    """Describe what a run has written, so that nobody takes what is changed later for its own, and call it complete."""
    write_run_manifest(run_dir.manifest, [*run_dir.list_records(), *run_dir.list_model_files()])
    write_status(run_dir, "complete", "report written", 0)


def refuse_changed_model(run_dir: RunDir) -> None:
    """Refuse a model that is no longer the one that the run's report speaks of.

    Raises:
        DataError: a file of it was changed since the run was complete.
    """
    refuse_changed_files(run_dir.manifest, run_dir.list_model_files())


def read_status(run_dir: RunDir) -> Status | None:
    """Return how a run stands, or None where no status was written.

    Where the first process doesn't know why it ended, the first of the others that knows is believed.

    Raises:
        DataError: a status is none.
    """
    if not run_dir.status.exists():
        return None
    status = read_record(Status, run_dir.status)
    is_killed = status.state == "running" and is_gone(status.process_id, status.host)
    if is_killed or status.exit_code == FinetuneError.exit_code:
        others = [read_record(Status, path) for path in run_dir.other_statuses()]
        informed = [other for other in others if other.exit_code != FinetuneError.exit_code]
        if informed:
            return min(informed, key=lambda other: other.updated)
    if not is_killed:
        return status
    # Killed, or the machine went down: it had no time to say so.
    message = "the process is gone; finetune run RECIPE --resume continues it"
    return status.model_copy(update={"state": "stopped", "message": message, "exit_code": StoppedError.exit_code})


def read_data_record(run_dir: RunDir) -> DataRecord:
    """Return what `data.json` says."""
    return read_record(DataRecord, run_dir.data)


def read_beginning(run_dir: RunDir) -> Beginning | None:
    """Return what a run began with, or None where it had not come to write it."""
    return read_record(Beginning, run_dir.beginning) if run_dir.beginning.exists() else None


def read_measurement(run_dir: RunDir) -> Measurement | None:
    """Return what training a seed took, or None where the seed isn't finished."""
    return read_record(Measurement, run_dir.measurement) if run_dir.measurement.exists() else None


def read_report(run_dir: RunDir) -> Report:
    """Return the report of a completed run.

    Raises:
        MissingInputError: no such folder, or the run isn't complete.
        DataError: the file is no report, or one of another schema version; a record of the run was changed since it was complete.
    """
    if not run_dir.path.is_dir():
        raise MissingInputError(f"{run_dir.path}: no such run folder")
    if not run_dir.report.exists():
        status = read_status(run_dir)
        state = f"the run is {status.state}: {status.message}" if status else "it is no run folder"
        raise MissingInputError(f"{run_dir.path}: no {run_dir.report.name}; {state}")
    refuse_changed_files(run_dir.manifest, run_dir.list_records())
    text = read_text(run_dir.report)
    # Version 1 lacks what version 2 added, all of which has a default that says "not measured".
    return parse_record(Report, run_dir.report, _FIRST_VERSION.sub(rf"\g<1>{SCHEMA_VERSION}", text, count=1))


def read_predictions(path: Path) -> Iterator[Prediction]:
    """Go through the predictions of a run; raises as `read_lines`."""
    return read_lines(Prediction, path)


def read_rows(path: Path) -> Iterator[EvaluatedRow]:
    """Go through the test rows of a run; raises as `read_lines`."""
    return read_lines(EvaluatedRow, path)
