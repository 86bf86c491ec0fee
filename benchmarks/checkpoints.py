"""What keeping a training safe costs: checkpoints that are whole or not there, the start of a resumed run, the watch over each step.

    python -m benchmarks.checkpoints [--rounds 7] [--steps 20]

Ratios of one run, interleaved, one thread, the packaged BERT with Adam's moments, CoLA's sentences where $FINETUNE_DATA is set.
Checkpoints are timed by the clock on the wall, since the disk is part of them; the rest by process CPU time. Prints a table and writes
it to `results/`.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

for library in ("OMP", "RAYON"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
from transformers import TrainerCallback

from benchmarks.ratios import Bar, Row, compare, show_rows, summarise
from benchmarks.result_file import write_results
from benchmarks.sides import Bench, encode, load_classifier, open_packaged, read_sentences, time_training
from benchmarks.whole_process import cpu_seconds, start_process, write_job
from finetune.callbacks import EventLog, LogBeforeKeeping, ObeySignals, SaveWhenScored, StopAtNonFinite
from finetune.checkpoint_writer import CheckpointWriter
from finetune.training_state import capture_generators, write_state

SENTENCES, LONGEST = 2000, 128
GUARDS = (SaveWhenScored, LogBeforeKeeping, StopAtNonFinite, EventLog, ObeySignals)
STEPS_BEFORE_RESUME = 2


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a training in each round")
    chosen = parser.parse_args()
    checkpoint, tokenizer = open_packaged()
    source, texts, labels = read_sentences(SENTENCES)
    features = encode(texts, labels, tokenizer, LONGEST)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(partial(load_classifier, checkpoint.folder), tokenizer, features, Path(folder))
        rows = [
            *save_rows(bench, chosen.rounds),
            resume_row(texts, labels, chosen.rounds),
            guard_row(bench, chosen.rounds, chosen.steps),
        ]
    show_rows(rows, f"{SENTENCES:,} {source} sentences, {chosen.rounds} rounds", {})
    write_results(rows, chosen.rounds, "checkpoints", sentences=source)


def save_rows(bench: Bench, rounds: int) -> list[Row]:
    """Return a checkpoint against weights and optimizer written by their libraries: as long as training waits, and until it is whole."""
    trainer = bench.ours(0, 1)
    trainer.train()
    model, optimizer, schedule = trainer.model, trainer.optimizer, trainer.lr_scheduler
    assert model is not None and optimizer is not None
    processes: list[dict[str, Any]] = [{"generators": capture_generators(), "seen": [0, 0, 0], "seconds": 0.0}]

    def fill(folder: Path) -> None:
        write_state(folder, model, optimizer, schedule, None, processes)

    def plain(number: int, *, is_flushed: bool) -> float:
        folder = bench.folder / f"plain-{number}"

        def write() -> None:
            model.save_pretrained(folder)
            torch.save(optimizer.state_dict(), folder / "optimizer.pt")
            for path in folder.iterdir() if is_flushed else ():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())

        return _time_writing(write, folder)

    def ours(number: int, *, is_whole: bool) -> float:
        writer = CheckpointWriter(bench.folder / "ours", keep=1)

        def write() -> None:
            writer.write(number + 1, fill)
            if is_whole:
                writer.wait()

        try:
            return _time_writing(write, bench.folder / "ours", writer.wait)
        finally:
            writer.wait()

    return [
        compare(
            "a checkpoint, for as long as training waits / save_pretrained and torch.save of the optimizer",
            Bar(1.3, 1.0, smaller_is_better=True),
            partial(plain, is_flushed=False),
            partial(ours, is_whole=False),
            rounds,
        ),
        compare(
            "a checkpoint, until it is flushed, hashed and whole / the plain files until they are flushed",
            Bar(smaller_is_better=True),
            partial(plain, is_flushed=True),
            partial(ours, is_whole=True),
            rounds,
        ),
    ]


def _time_writing(write: Callable[[], None], folder: Path, finish: Callable[[], None] = lambda: None) -> float:
    """Return the seconds that writing takes; the disk begins and ends idle."""
    os.sync()
    started = time.perf_counter()
    write()
    taken = time.perf_counter() - started
    finish()
    shutil.rmtree(folder)
    return taken


def resume_row(texts: Sequence[str], labels: Sequence[int], rounds: int) -> Row:
    """Return the whole process of a run resumed before its last step against that of a run of one step."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder, texts, labels)
        steps = f"train.max_steps={STEPS_BEFORE_RESUME + 1}"
        run = ["finetune", "run", "recipe.yaml", "train.save_every=1", "train.keep_checkpoints=9"]
        _kill_before_last_step([*run, steps, "--out", "stopped"], folder)

        def fresh(number: int) -> float:
            return cpu_seconds([*run, "train.max_steps=1", "--out", f"fresh-{number}"], folder)

        def resumed(number: int) -> float:
            shutil.copytree(folder / "stopped", folder / f"resumed-{number}")
            return cpu_seconds([*run, steps, "--out", f"resumed-{number}", "--resume"], folder)

        return compare(
            "whole process of a run resumed before its last step / of a run of one step",
            Bar(1.2, 1.1, smaller_is_better=True),
            fresh,
            resumed,
            rounds,
        )


def _kill_before_last_step(module: list[str], folder: Path) -> None:
    process = start_process(module, folder)
    checkpoints = folder / "stopped" / "checkpoints"
    while not (checkpoints / f"checkpoint-{STEPS_BEFORE_RESUME}").exists() and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.communicate()
    shutil.rmtree(checkpoints / f"checkpoint-{STEPS_BEFORE_RESUME + 1}", ignore_errors=True)
    if not checkpoints.is_dir():
        raise RuntimeError("the run had ended before it could be killed")


class Timed(TrainerCallback):
    """A callback, and the CPU seconds that it takes."""

    def __init__(self, watched: TrainerCallback) -> None:
        """Begin with none."""
        self.seconds = 0.0
        for event in (name for name in dir(watched) if name.startswith("on_")):
            setattr(self, event, self._time(getattr(watched, event)))

    def _time(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            answer = handle(*arguments, **named)
            self.seconds += time.process_time() - began
            return answer

        return timed


def guard_row(bench: Bench, rounds: int, steps: int) -> Row:
    """Return a training to what it takes but for what watches over its steps, which is far less than the noise of two trainings."""

    def ratio(number: int) -> float:
        trainer = bench.ours(number, steps)
        handler = trainer.callback_handler
        handler.callbacks = [
            Timed(callback) if isinstance(callback, GUARDS) else callback for callback in handler.callbacks
        ]
        seconds = time_training(trainer, 0)
        return seconds / (seconds - sum(timed.seconds for timed in handler.callbacks if isinstance(timed, Timed)))

    ratios = [ratio(number) for number in range(rounds + 1)][1:]
    bar = Bar(1.01, 1.005, smaller_is_better=True)
    return summarise("training with what watches over each step / without", bar, ratios)


if __name__ == "__main__":
    main()
