"""Where figures come from: command, machine, versions, time, memory, speed.

Owns the Provenance record of a report. Measures nothing but the clock and this process's memory.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from finetune.machine import choose_threads, device_name, git_state, installed_versions
from finetune.memory import peak_memory_megabytes
from finetune.records import Ancestor, Provenance
from finetune.run_records import Measurement


@dataclass(frozen=True)
class Clock:
    """When something began: for people, and for measuring."""

    started: str
    monotonic: float


def start_clock() -> Clock:
    """Return the time of now."""
    return Clock(datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic())


def build_provenance(
    command: str,
    clock: Clock,
    measurements: Sequence[Measurement],
    *,
    processes: int,
    threads: int | None,
    checkpoint: str,
    sha256: str,
    lineage: Sequence[Ancestor] = (),
    jobs: int = 1,
    changes: Sequence[str] = (),
) -> Provenance:
    """Return the provenance of a report; speeds are over the training time of all seeds together, `jobs` of them at a time."""
    seconds = sum(measurement.train_seconds for measurement in measurements)
    examples = sum(measurement.examples_seen for measurement in measurements)
    tokens = sum(measurement.tokens_seen for measurement in measurements)
    padded = sum(measurement.padded_tokens_seen for measurement in measurements)
    return Provenance(
        command=command,
        started=clock.started,
        seconds=round(time.monotonic() - clock.monotonic, 2),
        train_seconds=round(seconds, 2),
        examples_per_second=round(examples / seconds, 1) if examples else None,
        tokens_per_second=round(tokens / seconds, 1) if tokens else None,
        padding_share=round(1 - tokens / padded, 4) if padded else None,
        peak_memory_megabytes=round(
            max(peak_memory_megabytes(), *(entry.peak_memory_megabytes for entry in measurements)), 1
        ),
        device=device_name(),
        processes=processes,
        threads=choose_threads(threads, processes * jobs),
        precision=measurements[0].precision,
        parameters=measurements[0].parameters,
        checkpoint=checkpoint,
        checkpoint_sha256=sha256,
        lineage=list(lineage),
        versions=installed_versions(),
        git=git_state(),
        notes=[*measurements[0].notes, *_note_jobs(jobs), *(f"changed when resumed: {change}" for change in changes)],
    )


def _note_jobs(jobs: int) -> list[str]:
    if jobs == 1:
        return []
    return [f"{jobs} seeds were trained at a time: seconds and speed of each are those beside the others"]
