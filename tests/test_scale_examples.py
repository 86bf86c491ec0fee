"""The templates for clusters: whole launches, and only a run that saved itself is queued again."""

import os
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from finetune.machine import LAUNCH_VARIABLES

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
SCRIPTS = {
    # One process after the other, each told its place as Slurm does.
    "srun": """while [ "${1#--}" != "$1" ]; do shift; done
for place in 0 1 2 3; do
  SLURM_PROCID=$place SLURM_LOCALID=$((place % 2)) "$@" || code=$?
done
exit ${code:-0}""",
    "scontrol": 'if [ "$1" = show ]; then echo first; echo second; else echo "$*" >> scontrol.said; fi',
    "finetune": f'echo "$WORLD_SIZE {" ".join(f"${name}" for name in LAUNCH_VARIABLES)} $*" >> finetune.said; exit $CODE',
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which Slurm's commands, and ours, are stand-ins that note what they were told."""
    monkeypatch.chdir(tmp_path)
    for name, script in SCRIPTS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": "4", "SLURM_CPUS_PER_TASK": "8"}
    for name, value in {**job, "PATH": f"{tmp_path}:{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def submit(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(EXAMPLES / "slurm.sh"), *arguments],
        env={**os.environ, "CODE": str(code)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_slurm_starts_every_process_with_all_that_a_launch_has(cluster: Path) -> None:
    done = submit("cola", "runs/my cola", "train.batch_size=64")
    assert done.returncode == 0, done.stderr
    assert (cluster / "finetune.said").read_text().splitlines() == [
        f"4 {rank} {rank % 2} first 23456 run --out runs/my cola --resume=auto -- cola train.batch_size=64"
        for rank in range(4)
    ]


@pytest.mark.parametrize("code", [0, 1, 3, 75, 78, 130])
def test_a_slurm_job_keeps_its_exit_code_and_is_queued_again_only_after_it_saved(cluster: Path, code: int) -> None:
    assert submit("cola", "out", code=code).returncode == code
    said = cluster / "scontrol.said"
    assert said.exists() == (code == 75)
    assert code != 75 or said.read_text() == "requeue 123456\n"


@pytest.mark.usefixtures("cluster")
def test_a_slurm_job_without_a_recipe_says_how_it_is_used() -> None:
    done = submit("cola")
    assert done.returncode != 0 and "usage: sbatch slurm.sh RECIPE RUN_FOLDER" in done.stderr


def test_a_kubernetes_job_is_started_again_only_after_it_saved() -> None:
    job = YAML(typ="safe").load(EXAMPLES / "kubernetes.yaml")["spec"]
    rules = {
        (rule["action"], rule["onExitCodes"]["operator"]): rule["onExitCodes"]["values"]
        for rule in job["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert rules == {("Ignore", "In"): [75], ("FailJob", "NotIn"): [0, 75]}
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "a restart within the pod would pass the policy by"
    assert {"--resume=auto", "--out"} < set(pod["containers"][0]["command"])
