"""More machines and cut weights, played by processes and network namespaces on this machine: the same training as one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.same_training import assert_same_training, read_lines, write_exact_recipe
from tests.tiny import build_tiny_checkpoint

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parent.parent
PRESETS = ROOT / "recipes" / "accelerate"
ACCELERATE = str(Path(sys.executable).with_name("accelerate"))
TWO_NODES = ["unshare", "--map-root-user", "--net", "bash", str(Path(__file__).with_name("two_nodes.sh"))]


def launch(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command and, should it take too long, end all that it started."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe, and the run of it by one process in `one`."""
    checkpoint = build_tiny_checkpoint("bert", tmp_path_factory.mktemp("no-dropout"), dropout=0.0)
    found = write_exact_recipe(tmp_path_factory.mktemp("cluster"), checkpoint)
    done = launch([sys.executable, "-m", "finetune", "run", "r.yaml", "--out", "one"], found)
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture
def cable(tmp_path: Path) -> None:
    """Skip where this user may not make network namespaces and a cable between them."""
    try:
        done = launch(TWO_NODES, tmp_path)
    except FileNotFoundError as error:
        pytest.skip(f"TWO MACHINES NOT TESTED: {error}")
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        pytest.skip(f"TWO MACHINES NOT TESTED: no network namespaces here ({reason.splitlines()[-1]})")


@pytest.mark.usefixtures("cable")
def test_two_machines_with_a_cable_between_them_train_as_one_process(folder: Path) -> None:
    node = (
        f"exec {ACCELERATE} launch --config_file {PRESETS / 'multi-node.yaml'} --num_processes 2 --machine_rank $NODE "
        "--main_process_ip 10.77.0.1 -m finetune run r.yaml --out nodes"
    )
    done = launch([*TWO_NODES, "bash", "-c", node], folder, GLOO_SOCKET_IFNAME="cable")
    assert done.returncode == 0, done.stderr
    assert_same_training(folder / "nodes", folder / "one")
    # Each step sends every gradient across once, as 32-bit floats.
    received, sent = (int(done.stdout.split("cable:")[-1].split()[column]) for column in (0, 8))
    gradients = 4 * parameters_of(folder / "nodes") * len(read_lines(folder / "nodes" / "events.jsonl"))
    assert min(received, sent) > gradients


def parameters_of(run: Path) -> int:
    from safetensors.numpy import load_file

    return sum(weight.size for weight in load_file(run / "model" / "model.safetensors").values())


def test_weights_cut_over_two_processes_train_as_whole_ones(folder: Path) -> None:
    done = launch(
        [ACCELERATE, "launch", "--config_file", str(PRESETS / "fsdp.yaml"), str(ROOT / "tests" / "cut_weights.py"),
         "run", "r.yaml", "data.dev_fraction=0.3", "train.keep_best=true", "--out", "cut"],
        folder, ACCELERATE_TORCH_DEVICE="cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(folder / f"distributed-{rank}").read_text() for rank in (0, 1)] == ["FSDP", "FSDP"]
    whole = [sys.executable, "-m", "finetune", "run", "r.yaml", "data.dev_fraction=0.3", "train.keep_best=true"]
    assert launch([*whole, "--out", "whole"], folder).returncode == 0
    assert_same_training(folder / "cut", folder / "whole")
