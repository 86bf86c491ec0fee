"""The typed records of a run under way: how it stands, what it began with, what training a seed took.

Owns their shape and nothing else: `run_dir` names the files. What is told of it in the end is `records`. Imports no torch.
"""

from typing import Literal

from finetune.findings import Record


class Status(Record):
    """How a run stands, for people and schedulers."""

    state: Literal["running", "complete", "failed", "stopped"]
    exit_code: int | None
    message: str
    process_id: int
    host: str
    updated: str


class Beginning(Record):
    """What a run began with beside its recipe and rows, without which it can't go on bit by bit."""

    processes: int
    threads: int
    precision: str
    device: str
    checkpoint: str
    """SHA-256 of the weights that training began with; empty where all were drawn from the seed."""
    code: str
    """SHA-256 over the modules of this program."""
    versions: dict[str, str]
    changes: list[str] = []
    """What was allowed to change when the run was resumed."""


class Measurement(Record):
    """The outcome of training one seed, kept so that a resumed run need not repeat it."""

    seed: int
    train_seconds: float
    examples_seen: int
    tokens_seen: int
    padded_tokens_seen: int
    final_loss: float | None
    dev_score: float | None
    precision: str
    parameters: int
    peak_memory_megabytes: float = 0.0
    """Of the process that trained it; 0.0 where an earlier version didn't write it down."""
    notes: list[str]
