"""What this machine has, and what a run will use of it: device, precision, threads, processes, versions.

Owns every choice that a recipe leaves to the machine. Imports torch only inside functions.
"""

import hashlib
import os
import platform
import re
import socket
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from finetune.errors import RecipeError, SettingError, UnavailableError, UsageError

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "scipy",
    "numpy",
    "pydantic",
)
# Below these, known advisories apply to what reads strangers' files here.
VERSION_FLOORS = {
    "torch": (2, 10),  # CVE-2026-24747, memory corruption even with weights_only; CVE-2025-32434 below 2.6
    "transformers": (5, 5),  # CVE-2026-1839, CVE-2026-4372, CVE-2026-5241: code of a checkpoint runs
    "pyarrow": (14, 0, 1),  # CVE-2023-47248, code of a file runs
    "jinja2": (3, 1, 6),  # CVE-2025-27516, out of the sandbox of chat templates
}
# What tells a process of a launch where it stands and where the others are; torchrun, accelerate and `--processes` set them all.
LAUNCH_VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# How many times a command was started, by programs that tell the copies nothing of one another.
COPIES = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun", "PMI_SIZE": "mpiexec"}
Precision = Literal["fp32", "bf16", "fp16"]


def processes_asked_for() -> int:
    """Return the number of processes of this run, as its launcher set it.

    Raises:
        UsageError: it set no number.
    """
    stated = os.environ.get("WORLD_SIZE", "1")
    if not stated.isdecimal() or int(stated) < 1:
        raise UsageError(f"WORLD_SIZE: found {stated!r}, allowed is a number of processes, from 1")
    return int(stated)


def process_rank() -> int:
    """Return which of the processes this is, from 0."""
    stated = os.environ.get("RANK", "0")
    return int(stated) if stated.isdecimal() else 0


def refuse_half_a_launch() -> None:
    """Stop where several processes were started, or announced, that could not find one another.

    Raises:
        RecipeError: with what to use instead.
    """
    if "WORLD_SIZE" in os.environ:
        missing = [name for name in LAUNCH_VARIABLES if name not in os.environ]
        if processes_asked_for() > 1 and missing:
            raise RecipeError(
                [
                    f"WORLD_SIZE asks for {processes_asked_for()} processes, but {', '.join(missing)} must be set too; let "
                    "torchrun, accelerate launch or finetune run RECIPE --processes N set them all"
                ]
            )
        return
    for name, program in COPIES.items():
        if os.environ.get(name, "").isdecimal() and int(os.environ[name]) > 1:
            raise RecipeError(
                [
                    f"{program} started {os.environ[name]} copies of this command, each of which would be a run of its own; "
                    "let it start torchrun or accelerate launch, once a machine (docs/scale.md), or set WORLD_SIZE=1"
                ]
            )


def refuse_silent_single_process() -> None:
    """Stop where `accelerate launch` was asked for several CPU processes and started one.

    accelerate 1.15 then sets MASTER_ADDR without WORLD_SIZE.

    Raises:
        RecipeError: with the line to use instead.
    """
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ and "ACCELERATE_MIXED_PRECISION" in os.environ:
        raise RecipeError(
            [
                "accelerate launch starts one process only on a machine without GPUs, whatever --num_processes says; "
                "use instead: finetune run RECIPE --processes N"
            ]
        )


@cache
def cpu_flags() -> frozenset[str]:
    """Return the feature flags of the processor, empty where the system doesn't tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def cpu_computes_bf16() -> bool:
    """Say whether the processor multiplies bf16 matrices itself.

    torch's own probe says yes where it emulates them, which was measured 2.6 times slower than fp32.
    """
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})


def choose_precision(stated: str) -> Precision:
    """Return the number format to compute in.

    Raises:
        RecipeError: the device can't compute in the stated one.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if has_gpu else cpu_computes_bf16()
    if stated == "auto":
        return _agree_with_launcher("bf16" if has_bf16 else "fp32")
    if stated == "bf16" and not has_bf16:
        raise SettingError(
            "train.precision",
            "bf16 is not computed by this processor, only emulated at a third of the speed; use auto or fp32",
        )
    if stated == "fp16" and not has_gpu:
        raise SettingError("train.precision", "fp16 needs a GPU; use auto or fp32")
    return _agree_with_launcher("fp16" if stated == "fp16" else "bf16" if stated == "bf16" else "fp32")


def _agree_with_launcher(chosen: Precision) -> Precision:
    """Return the number format of a run, unless accelerate launch was asked for another, which would silently win.

    Raises:
        SettingError: it was.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", chosen):
        raise SettingError(
            "train.precision",
            f"this run computes in {chosen}, but accelerate launch was asked for {launched}; "
            "leave its mixed_precision at no and state train.precision",
        )
    return chosen


def choose_threads(stated: int | None, processes: int) -> int:
    """Return the CPU threads of one process: stated, else OMP_NUM_THREADS, else this machine's cores shared out."""
    if stated is not None:
        return stated
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return max(1, int(os.environ["OMP_NUM_THREADS"]))
    return max(1, usable_cores() // processes)


def usable_cores() -> int:
    """Return the cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def device_kind() -> str:
    """Return what computes: cpu, cuda, mps."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found else "cpu"


@cache
def digest_of_code() -> str:
    """Return the SHA-256 over the modules of this program: their names and contents."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def device_name() -> str:
    """Return the name of the device that computes."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    name = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"CPU ({name or platform.machine()}, {usable_cores()} cores)"


def installed_versions() -> dict[str, str]:
    """Return the versions of Python, this program and the packages that decide numbers."""
    from finetune import __version__

    found = {"python": platform.python_version(), "finetune": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def list_old_versions() -> list[str]:
    """Return a line for each package below its security floor."""
    old = []
    for package, floor in VERSION_FLOORS.items():
        with suppress(PackageNotFoundError):
            found = version(package)
            # 3.1.6 and 2.13.0+cpu, not what may follow a release.
            if tuple(int(part) for part in re.findall(r"\d+", found)[: len(floor)]) < floor:
                old.append(
                    f"{package} {found} has known security holes; at least {'.'.join(map(str, floor))} is needed"
                )
    return old


def refuse_old_versions() -> None:
    """Refuse to work with packages of known security holes.

    Raises:
        UnavailableError: naming each, and what is needed.
    """
    if old := list_old_versions():
        raise UnavailableError("; ".join(old))


def git_state() -> str:
    """Return commit and cleanliness of the working directory's repository, or "not a git repository"."""

    def ask(*arguments: str) -> str | None:
        try:
            answer = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603, S607
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = ask("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return "not a git repository"
    return f"{commit}{' with uncommitted changes' if ask('status', '--porcelain') else ''}"


def is_gone(process_id: int, host: str) -> bool:
    """Say whether a process has certainly ended, which can only be known of one on this machine."""
    if host != socket.gethostname():
        return False
    try:
        # Signal 0 is never delivered.
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
