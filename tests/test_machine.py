"""Choices that a recipe leaves to the machine."""

import os
import re
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from finetune import machine
from finetune.errors import RecipeError, UnavailableError


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(
    ("flags", "stated", "chosen"),
    [
        ("", "auto", "fp32"),
        ("avx2 avx512f", "auto", "fp32"),
        ("avx512_bf16", "auto", "bf16"),
        ("amx_bf16 avx2", "auto", "bf16"),
        ("amx_bf16", "fp32", "fp32"),
        ("amx_bf16", "bf16", "bf16"),
    ],
)
def test_bf16_is_chosen_only_where_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, stated: str, chosen: str
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset(flags.split()))
    assert machine.choose_precision(stated) == chosen


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("stated", "saying"), [("fp16", "fp16 needs a GPU"), ("bf16", "only emulated")])
def test_a_precision_that_the_processor_lacks_is_a_recipe_error(
    monkeypatch: pytest.MonkeyPatch, stated: str, saying: str
) -> None:
    monkeypatch.setattr(machine, "cpu_flags", frozenset)
    with pytest.raises(RecipeError, match=f"train.precision: .*{saying}"):
        machine.choose_precision(stated)


@pytest.mark.parametrize(
    ("stated", "processes", "variable", "chosen"),
    [
        (3, 1, "5", 3),
        (3, 4, "5", 3),
        (None, 1, "5", 5),
        (None, 1, "", 8),
        (None, 1, "many", 8),
        (None, 1, "0", 1),
        (None, 2, "8", 8),
        (None, 2, "", 4),
        (None, 100, "", 1),
    ],
)
def test_threads_are_stated_else_the_environment_s_else_the_cores_shared_out(
    monkeypatch: pytest.MonkeyPatch, stated: int | None, processes: int, variable: str, chosen: int
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert machine.choose_threads(stated, processes) == chosen


@pytest.mark.parametrize(
    ("variables", "is_refused"),
    [
        ({}, False),
        ({"MASTER_ADDR": "127.0.0.1"}, False),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, False),
        ({"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}, True),
        ({"MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no", "WORLD_SIZE": "2"}, False),
    ],
)
def test_only_a_launcher_that_lost_its_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_refused: bool
) -> None:
    for name in ("MASTER_ADDR", "ACCELERATE_MIXED_PRECISION", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if is_refused:
        with pytest.raises(RecipeError, match="finetune run RECIPE --processes N"):
            machine.refuse_silent_single_process()
    else:
        machine.refuse_silent_single_process()


def test_old_versions_are_named_with_the_floor_they_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": "2.9.1+cpu", "transformers": "5.20.0", "pyarrow": "26.0.1", "jinja2": "3.1.5"}
    monkeypatch.setattr(machine, "version", found.__getitem__)
    assert machine.list_old_versions() == [
        "torch 2.9.1+cpu has known security holes; at least 2.10 is needed",
        "jinja2 3.1.5 has known security holes; at least 3.1.6 is needed",
    ]
    with pytest.raises(UnavailableError, match=r"^torch 2\.9\.1\+cpu has .*; jinja2 3\.1\.5 has ") as raised:
        machine.refuse_old_versions()
    assert raised.value.exit_code == 69
    found |= {"torch": "2.10.0+cu130", "jinja2": "3.1.6"}
    assert machine.list_old_versions() == []
    machine.refuse_old_versions()


def test_a_package_that_is_not_installed_has_no_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(machine, "version", refuse)
    assert machine.list_old_versions() == []


def test_pinned_and_allowed_versions_are_above_the_floors() -> None:
    root = Path(__file__).parent.parent
    pins = dict(re.findall(r"^([\w.-]+)==(\d[\d.]*)", (root / "constraints.txt").read_text(), flags=re.MULTILINE))
    locked = dict(re.findall(r"^([\w.-]+)==(\d[\d.]*)", (root / "requirements.lock").read_text(), flags=re.MULTILINE))
    for package, floor in machine.VERSION_FLOORS.items():
        pinned = {name.lower(): number for name, number in pins.items()}[package]
        assert tuple(map(int, pinned.split(".")[: len(floor)])) >= floor, package
        assert locked[package] == pinned
    allowed = dict(re.findall(r"^    \"([\w.-]+)>=([\d.]+)", (root / "pyproject.toml").read_text(), flags=re.MULTILINE))
    for package in machine.VERSION_FLOORS:
        assert tuple(map(int, allowed[package].split("."))) >= machine.VERSION_FLOORS[package], package


def test_the_lock_has_a_hash_for_every_file_and_pins_what_the_constraints_pin() -> None:
    root = Path(__file__).parent.parent
    entries = re.split(r"\n(?=\S)", (root / "requirements.lock").read_text().strip())
    entries = [entry for entry in entries if not entry.startswith("#")]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    locked = {canonical(entry.partition("==")[0]): entry.partition("==")[2].split()[0] for entry in entries}
    pins = [line.partition("==") for line in (root / "constraints.txt").read_text().split()]
    assert {canonical(name): number for name, _, number in pins}.items() <= locked.items(), "make lock mends it"


def canonical(name: str) -> str:
    """Return a package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_versions_hold_every_package_that_decides_numbers() -> None:
    found = machine.installed_versions()
    assert set(found) == {"python", "finetune", *machine.PACKAGES} and "not installed" not in found.values()


def test_the_state_of_the_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert machine.git_state() == "not a git repository"
    author = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", *command], check=True, env={**os.environ, **author})
    commit = machine.git_state()
    assert len(commit) == 12
    (tmp_path / "new").touch()
    assert machine.git_state() == f"{commit} with uncommitted changes"
    monkeypatch.setenv("PATH", "")
    assert machine.git_state() == "not a git repository"


def test_the_machine_can_be_described() -> None:
    assert machine.usable_cores() >= 1
    assert machine.device_name()
