"""Data larger than memory: `finetune run` on a file of millions of sentences, its peak memory and CPU time by phase.

Owns the made-up sentences and the watch over the process. A mapped file counts as resident memory until the system wants the
pages back, so what the process alone holds (anonymous memory) stands beside it.

    python -m benchmarks.large_data --rows 5000000
    python -m benchmarks.large_data --rows 10000 --tested 1000000 --tiny
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.sides import CHECKPOINT
from finetune.sample import build_sample

STEPS = 20
SECONDS_BETWEEN = 0.1
WORDS_A_SENTENCE = 9.4  # the mean of SST-2's train phrases
RECIPE = f"""task: text-classification
model: {{checkpoint: "{CHECKPOINT["checkpoint"]}"$scratch}}
data: {{path: {{train: train.csv, test: test.csv}}, columns: {{text: text, label: label}}, max_length: 128}}
train: {{max_steps: {STEPS}, precision: fp32, threads: 1}}
evaluate: {{batch_size: 64}}
"""
TINY = ", init: scratch, shape: {hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 64}"
# What a run has written when each phase is over.
PHASES = {"read, checked, encoded": "recipe.yaml", "trained, tested": "predictions.jsonl", "reported": "report.html"}


@dataclass
class Phase:
    """What one phase of a run took: CPU seconds, and the peaks of memory in it in megabytes."""

    name: str
    cpu_seconds: float = 0.0
    resident: float = 0.0
    anonymous: float = 0.0


def write_sentences(path: Path, rows: int, seed: int) -> None:
    """Write sentences of random words, 9.4 in the mean, with labels that some of the words speak for."""
    words = sorted({word for row in build_sample()["train"] for word in row.sentence.lower().split()})
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(0).normal(size=len(words))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        for begin in range(0, rows, 10_000):
            lengths = 1 + generator.poisson(WORDS_A_SENTENCE - 1, size=min(10_000, rows - begin))
            for drawn in np.split(generator.integers(len(words), size=lengths.sum()), np.cumsum(lengths)[:-1]):
                writer.writerow((" ".join(words[number] for number in drawn), int(weights[drawn].sum() > 0)))


def run_watched(folder: Path, out: Path) -> tuple[list[Phase], float]:
    """Run the recipe, and return its phases and the peak of resident memory in megabytes."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "RAYON")}
    environment = {**os.environ, **threads, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, "-m", "finetune", "run", "recipe.yaml", "--out", str(out)]
    phases = [Phase(name) for name in PHASES]
    peak = 0.0
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        for seen in _watch(process):
            phase = phases[min(sum((out / name).exists() for name in PHASES.values()), len(phases) - 1)]
            phase.cpu_seconds = seen["cpu"] - sum(other.cpu_seconds for other in phases if other is not phase)
            phase.resident = max(phase.resident, seen["VmRSS"])
            phase.anonymous = max(phase.anonymous, seen["RssAnon"])
            peak = seen["VmHWM"]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with exit code {process.returncode}")
    return phases, peak


def _watch(process: subprocess.Popen) -> Iterator[dict[str, float]]:
    """Yield what the system says of a process until it ends: memory in megabytes, CPU seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        values = dict(line.split(":", 1) for line in status)
        if "VmRSS" in values:
            times = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            found = {name: int(values[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon", "VmHWM")}
            yield {**found, "cpu": (int(times[11]) + int(times[12])) / ticks}
        time.sleep(SECONDS_BETWEEN)


def main() -> None:
    """Print what a run on so many rows takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of train")
    parser.add_argument("--tested", type=int, default=2_000, help="rows of test")
    parser.add_argument("--tiny", action="store_true", help="a BERT of one layer, so that a large test takes minutes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sentences(folder / "train.csv", chosen.rows, seed=1)
        write_sentences(folder / "test.csv", chosen.tested, seed=2)
        recipe = RECIPE.replace("$scratch", TINY if chosen.tiny else "")
        (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
        size = sum((folder / part).stat().st_size for part in ("train.csv", "test.csv")) / 1e6
        phases, peak = run_watched(folder, folder / "out")
    print(f"{chosen.rows:,} train rows, {chosen.tested:,} test rows, {size:,.0f} MB")
    print(f"{'':24}{'CPU seconds':>12}{'resident MB':>12}{'anonymous MB':>14}")
    for phase in phases:
        print(f"{phase.name:24}{phase.cpu_seconds:12.0f}{phase.resident:12,.0f}{phase.anonymous:14,.0f}")
    anonymous = max(phase.anonymous for phase in phases)
    print(f"{'whole run':24}{sum(phase.cpu_seconds for phase in phases):12.0f}{peak:12,.0f}{anonymous:14,.0f}")


if __name__ == "__main__":
    main()
