"""The seeds of a run, one after the other or several at a time.

Owns `finetune run --jobs N`: the worker processes, what they are handed, how their errors come back, their end. What is done for one
seed is `fit`. Several processes that train one seed together are `launch` and `processes`.

Not a pool of concurrent.futures: that of Python 3.11 does not watch a worker that it started after the first until something else
happens, so that one killed for memory was noticed when another's seed was done (seen: 110 seconds later).
"""

import copy
import io
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from finetune.errors import ResourceError, StoppedError, StopRun, as_finetune_error, first_line
from finetune.fit import fit_seed
from finetune.machine import choose_threads
from finetune.prepare import SeedJob
from finetune.report import SeedResult, predictor_name
from finetune.run_dir import RunDir
from finetune.scores import pick
from finetune.stopping import SIGNALS, Request, heed_signals, pass_signals_on
from finetune.wording import format_score, format_seconds, list_words, metric_title

# What a shell reports of a process that was told to end: 128 + SIGTERM.
ENDED_WITH_PARENT = 128 + signal.SIGTERM
# What an idle worker gets to end by itself, for trackers that send what they hold.
SECONDS_OF_GRACE = 20.0


def fit_seeds(
    job: SeedJob,
    seeds: Sequence[int],
    folder_of: Callable[[int], RunDir],
    *,
    resume: bool,
    jobs: int,
    tell: Callable[[str], None] = lambda line: None,
) -> list[SeedResult]:
    """Fit every seed in its folder, at most `jobs` of them at a time; return the results in the order of `seeds`.

    With several at a time, `tell` gets a line whenever one is done. The first failure keeps further seeds from beginning; those in
    progress are finished, so that a resumed run has them. Told to stop, each saves the step it is at.

    Raises:
        StoppedError: a signal asked for it.
        FinetuneError: that of the seed that failed first; a ResourceError where a worker could not start or was killed from outside.
    """
    jobs = min(jobs, len(seeds))
    if jobs <= 1:
        return [fit_seed(job, seed, folder_of(seed), resume=resume, tell=tell) for seed in seeds]
    results: dict[int, SeedResult] = {}
    failure: Exception | None = None
    with _start_workers(job, jobs) as workers, pass_signals_on(lambda: _stop(workers)):
        for seed, outcome, others in _fit_by_turns(workers, seeds, folder_of, resume=resume):
            if isinstance(outcome, SeedResult):
                results[seed] = outcome
                tell(describe_seed(outcome, job.task.primary_metric))
                continue
            failure = failure or outcome
            if others and not isinstance(outcome, StoppedError):
                tell(_describe_failure(seed, outcome, others))
    if SIGNALS.request >= Request.STOP:
        raise SIGNALS.describe("while seeds were trained, each of which has saved the step it was at")
    if failure is not None:
        raise failure
    return [results[seed] for seed in seeds]


def _stop(workers: "Sequence[_Worker]") -> None:
    for worker in workers:
        worker.process.terminate()


def describe_seed(result: SeedResult, metric: str) -> str:
    """Return what is said of a seed when it is done."""
    score = pick(result.scores, metric)
    value = format_score(score.value) if score else "not scored"
    return f"{predictor_name(result.seed)}: {metric_title(metric)} {value}, {format_seconds(result.measurement.train_seconds)}"


def _describe_failure(seed: int, error: Exception, others: Sequence[int]) -> str:
    names = list_words([predictor_name(other) for other in others])
    reason = first_line(as_finetune_error(error))
    return f"{predictor_name(seed)}: failed ({reason}); {names} will be finished first, Ctrl-C stops at once"


class _WorkerProcess(SpawnProcess):
    """A process that knows nothing of this program's script, and that Ctrl-C doesn't reach.

    The terminal sends Ctrl-C to every process; the first one decides what it means. Spawned, not forked: the fork of a process with
    threads may hang, and can't use a GPU that its parent uses.
    """

    def start(self) -> None:
        """Start the process."""
        # Python's own helper process, which is started with the first worker and lets Ctrl-C through again when it is.
        resource_tracker.ensure_running()
        script, before = sys.modules["__main__"], signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        # A worker would import the script again, and so run it again where it has no guard.
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = script
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass
class _Worker:
    """A process that fits one seed after the other, and the line on which seeds go out and outcomes come back."""

    process: _WorkerProcess
    line: Connection
    seed: int | None = None

    def begin(self, seed: int, folder_of: Callable[[int], RunDir], *, resume: bool) -> None:
        """Hand over a seed to fit."""
        self.seed = seed
        self.send((seed, folder_of(seed), resume))

    def finish(self) -> tuple[int, SeedResult | Exception]:
        """Return the seed that was being fitted and what came of it."""
        assert self.seed is not None
        seed, self.seed = self.seed, None
        try:
            return seed, self.line.recv()
        except (EOFError, OSError):
            raise self._explain_end() from None

    def send(self, what: Any) -> None:
        """Send what the worker waits for."""
        try:
            self.line.send(what)
        except OSError:
            raise self._explain_end() from None

    def _explain_end(self) -> ResourceError:
        """Return why a worker is gone that was needed."""
        self.process.join(SECONDS_OF_GRACE)
        code = self.process.exitcode or 0
        if code >= 0:
            return ResourceError(f"a worker process ended with exit code {code} before its seed was done")
        return ResourceError(
            f"a worker process was ended by signal {-code}; signal 9 mostly means that memory ran out: fewer --jobs or a "
            "lower train.micro_batch_size need less"
        )


def _fit_by_turns(
    workers: Sequence[_Worker], seeds: Sequence[int], folder_of: Callable[[int], RunDir], *, resume: bool
) -> Iterator[tuple[int, SeedResult | Exception, list[int]]]:
    """Go through (seed, what came of it, seeds still in progress), as they are done; none begins after a failure."""
    waiting, has_failed = list(seeds), False
    while True:
        for worker in workers:
            if worker.seed is None and waiting and not has_failed:
                worker.begin(waiting.pop(0), folder_of, resume=resume)
        busy = [worker for worker in workers if worker.seed is not None]
        if not busy:
            return
        ready = wait([worker.line for worker in busy])
        for worker in busy:
            if worker.line in ready:
                seed, outcome = worker.finish()
                has_failed = has_failed or isinstance(outcome, Exception)
                yield seed, outcome, [other.seed for other in workers if other.seed is not None]


@contextmanager
def _start_workers(job: SeedJob, jobs: int) -> Generator[list[_Worker]]:
    """Give workers that have the job, and are gone at the end, however it comes."""
    workers: list[_Worker] = []
    try:
        for _ in range(jobs):
            workers.append(_start_worker(jobs))
        # Only now, since each takes it when it has loaded what it needs; they load at the same time.
        for worker in workers:
            worker.send(job)
        yield workers
        for worker in workers:
            worker.line.close()
        for worker in workers:
            worker.process.join(SECONDS_OF_GRACE)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()


def _start_worker(jobs: int) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = _WorkerProcess(target=_work, args=(theirs, jobs))
    try:
        process.start()
    except OSError as error:
        raise ResourceError(f"{jobs} worker processes could not be started ({error.strerror})") from None
    finally:
        # Held by the worker alone, so that its end is the end of the line.
        theirs.close()
    return _Worker(process, ours)


def _work(line: Connection, jobs: int) -> None:
    """Fit seeds in this process until the line ends or it is told to stop: silent, one of `jobs`, gone when its parent is."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(choose_threads(None, jobs))
    sys.stderr = _no_terminal(sys.stderr)
    try:
        with heed_signals():
            job: SeedJob = line.recv()
            while True:
                seed, run_dir, resume = line.recv()
                line.send(_try_to_fit(job, seed, run_dir, resume=resume))
    except (EOFError, StopRun):
        return


def _try_to_fit(job: SeedJob, seed: int, run_dir: RunDir, *, resume: bool) -> SeedResult | Exception:
    try:
        return fit_seed(job, seed, run_dir, resume=resume, tell=lambda line: print(line, file=sys.stderr))  # noqa: T201
    except StopRun as stop:
        return stop.error
    except Exception as error:
        error.add_note("".join(["in a worker process:\n", *traceback.format_exception(error)]))
        return error if _can_travel(error) else as_finetune_error(error)


def _can_travel(error: Exception) -> bool:
    """Say whether an exception can be made again from what it keeps."""
    try:
        return type(copy.copy(error)) is type(error)
    except Exception:
        return False


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(ENDED_WITH_PARENT)


class _PlainStream(io.TextIOWrapper):
    """A stream that says it is no terminal, so that nobody draws a progress bar: those of several workers would overwrite each other."""

    def isatty(self) -> bool:
        """Say no."""
        return False


def _no_terminal(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    return _PlainStream(stream.buffer, stream.encoding, "backslashreplace", line_buffering=True)
