"""Kill runs with -9 at seeded random moments, resume them, and hold every bit against runs that nobody touched.

    python -m tests.torture                     # 50 kills
    TORTURE_KILLS=6 python -m tests.torture
    TORTURE_SEED=17 TORTURE_KILLS=1 python -m tests.torture     # the run of one seed again

A run is interrupted up to three times before it is let go on to its end: half of the times at the n-th time that it touches its folder
(between the files of a save, before a rename, within a removal), the other half after a time (steps, evaluation, predictions). One
interruption in four is no kill but a SIGTERM, after which it has to end by itself with exit code 75.
The processes are real and so is the signal; they are forked from one that has imported torch, which saves minutes.
"""

import hashlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

RECIPE = """task: text-classification
model: {{checkpoint: {checkpoint}}}
data: {{path: rows.csv, columns: {{text: text, label: label}}}}
train: {{epochs: 3, batch_size: 8, learning_rate: 1.0e-3, precision: fp32, threads: 1}}
evaluate: {{bootstrap: 100}}
"""
# Step and epoch borders, accumulation, the best weights, patience; evaluation and save together and apart.
COURSES = {
    "steps": ["train.save_every=3", "train.micro_batch_size=2"],
    "best": ["train.keep_best=true", "train.evaluate_every=4"],
    "patience": ["train.patience=2", "train.evaluate_every=2", "train.learning_rate=1e-6"],
    "epochs": ["train.keep_checkpoints=2"],
}
MOST_INTERRUPTIONS_A_RUN = 3
STOPPED = 75


@dataclass(frozen=True)
class Kind:
    """How a run is cut and what it does beside training."""

    processes: int
    batching: str
    course: str

    @property
    def name(self) -> str:
        """What the run folder of the untouched run is called."""
        return f"{self.processes}-{self.batching}-{self.course}"

    def command(self, out: str) -> list[str]:
        """Return the command line of a run into `out`, which goes on where there is something to go on from."""
        return [
            "run", "r.yaml", f"train.batching={self.batching}", *COURSES[self.course], "--out", out, "--resume=auto",
        ]  # fmt: skip


def start(kind: Kind, out: str, touch: int | None = None, number: int = signal.SIGKILL) -> list[int]:
    """Fork the processes of a run; the first sends itself a signal when it touches the run folder for the `touch`-th time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = []
    for rank in range(kind.processes):
        process = os.fork()
        if process == 0:
            if kind.processes > 1:
                os.environ |= {
                    "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(kind.processes),
                    "LOCAL_WORLD_SIZE": str(kind.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                }  # fmt: skip
            _become_run(kind, out, rank, touch, number)
        found.append(process)
    return found


def _become_run(kind: Kind, out: str, rank: int, touch: int | None, number: int) -> None:
    """Go on as `finetune run`, and never return."""
    log = os.open(f"{out}.log" if rank == 0 else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["finetune", *kind.command(out)]
    if rank == 0:
        sys.addaudithook(_count_touches(Path(out).absolute(), touch, number))
    from finetune.exits import main

    try:
        main()
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def _count_touches(folder: Path, last: int | None, number: int) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that counts what is done below a folder, in a file beside it, and may send this process a signal."""
    touched = 0
    counter = os.open(f"{folder}.touched", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touched
        if event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if not path.startswith((f"{folder}/", f"{folder.name}/")):
            return
        touched += 1
        if touched == last:
            os.kill(os.getpid(), number)
        os.pwrite(counter, f"{touched:9}".encode(), 0)

    return hook


def end(processes: list[int], after: float | None, number: int = signal.SIGKILL) -> bool:
    """Wait for a run, sending all of it a signal after a time, and killing it when one of it is killed; say whether it was interrupted."""
    deadline = float("inf") if after is None else time.monotonic() + after
    waiting, codes, was_killed = list(processes), {}, False
    while waiting:
        for process in list(waiting):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                waiting.remove(process)
                codes[process] = os.waitstatus_to_exitcode(status)
                # By SIGTERM only before it is a run that could heed it.
                was_killed = was_killed or codes[process] in (-signal.SIGKILL, -number)
        if was_killed or time.monotonic() > deadline:
            for process in waiting:
                os.kill(process, signal.SIGKILL if was_killed else number)
            deadline = float("inf")
        time.sleep(0.002)
    if was_killed:
        return True
    # Of a run that was stopped, what the first says counts: one that it has left behind can only fail.
    failed = [
        codes[process] for process in (processes[:1] if number == signal.SIGTERM else processes) if codes[process]
    ]
    if failed and (number, failed[0]) != (signal.SIGTERM, STOPPED):
        raise RuntimeError(f"a run ended with exit code {failed[0]} without having been killed")
    return bool(failed)


def gist(out: str) -> dict[str, Any]:
    """Return what has to be the same to the bit: every step's numbers, the weights, the predictions."""
    events = [json.loads(line) for line in Path(out, "events.jsonl").read_text().splitlines()]
    return {
        "events": [{name: value for name, value in event.items() if name != "seconds"} for event in events],
        "weights": hashlib.sha256(Path(out, "model/model.safetensors").read_bytes()).hexdigest(),
        "predictions": Path(out, "predictions.jsonl").read_text(),
        "seen": [
            json.loads(Path(out, "training.json").read_text())[name]
            for name in ("examples_seen", "tokens_seen", "padded_tokens_seen", "final_loss", "dev_score")
        ],
    }


@dataclass(frozen=True)
class Untouched:
    """A run that nobody killed."""

    gist: dict[str, Any]
    touches: int
    seconds: float


def run_untouched(kind: Kind) -> Untouched:
    """Run to the end and return what came of it, and how long the way there is."""
    began = time.monotonic()
    end(start(kind, kind.name), None)
    touches = int(Path(f"{kind.name}.touched").read_text())
    return Untouched(gist(kind.name), touches, time.monotonic() - began)


def torture_once(seed: int, most: int, untouched: dict[Kind, Untouched]) -> tuple[int, int, bool]:
    """Kill one run up to `most` times, or stop it, and let it end; return kills, stops, and whether it ended as the untouched one."""
    chance = random.Random(seed)
    kind = Kind(chance.choice([1, 2]), chance.choice(["packed", "grouped", "padded"]), chance.choice(sorted(COURSES)))
    if kind not in untouched:
        untouched[kind] = run_untouched(kind)
    whole, out, kills, stops, moments = untouched[kind], f"run-{seed}", 0, 0, []
    for _ in range(min(most, chance.randint(1, MOST_INTERRUPTIONS_A_RUN))):
        number = signal.SIGTERM if chance.random() < 0.25 else signal.SIGKILL
        if chance.random() < 0.5:
            touch = chance.randint(1, whole.touches)
            moment, processes, after = f"touch {touch}", start(kind, out, touch, number), None
        else:
            after = chance.uniform(0.2, 1.0) * whole.seconds
            moment, processes = f"{after:.2f} s", start(kind, out)
        if end(processes, after, number):
            kills, stops = kills + (number == signal.SIGKILL), stops + (number == signal.SIGTERM)
            moments.append(f"{'killed' if number == signal.SIGKILL else 'stopped'} at {moment}")
    end(start(kind, out), None)
    is_equal = gist(out) == whole.gist
    verdict = "bit-equal" if is_equal else f"NOT EQUAL, see {Path(out).absolute()}"
    print(f"seed {seed}: {kind.name}, {', '.join(moments) or 'not interrupted'}: {verdict}", flush=True)
    return kills, stops, is_equal


def main() -> int:
    """Kill as often as asked; return the exit code."""
    # Before torch is imported: one thread, no network.
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    from finetune.machine import digest_of_code
    from tests.tiny import build_tiny_checkpoint, write_rows

    wanted, seed = int(os.environ.get("TORTURE_KILLS", "50")), int(os.environ.get("TORTURE_SEED", "1"))
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    os.chdir(folder)
    write_rows(folder / "rows.csv", 90)
    (folder / "r.yaml").write_text(RECIPE.format(checkpoint=build_tiny_checkpoint("bert", folder / "tiny")))
    for name in ("finetune.exits", "finetune.run", "finetune.training", "finetune.model_card", "sklearn.linear_model"):
        import_module(name)
    # Remembered from here on, so that modules edited meanwhile refuse no resume.
    digest_of_code()
    untouched: dict[Kind, Untouched] = {}
    killed = stopped = equal = 0
    unequal: list[int] = []
    print(f"in {folder}, from seed {seed}", flush=True)
    while killed < wanted:
        kills, stops, is_equal = torture_once(seed, wanted - killed, untouched)
        unequal += [] if is_equal else [seed]
        killed, stopped, equal, seed = killed + kills, stopped + stops, equal + (kills if is_equal else 0), seed + 1
    print(f"{stopped} stops by SIGTERM beside them; seeds of runs that are not bit-equal: {unequal or 'none'}")
    print(f"{killed} kills, {equal} bit-equal")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
