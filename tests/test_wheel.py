"""The built wheel, in a folder with nothing else: recipes are found by name, the sample is inside, the command works."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the wheel was unpacked, as pip does."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--wheel-dir",
            str(folder),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    wheel = next(folder.glob("*.whl"))
    assert wheel.name.startswith("finetune_recipes-"), "the name `finetune` belongs to somebody else"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def call(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "200"}
    environment.pop("FINETUNE_DATA", None)
    return subprocess.run(
        [sys.executable, "-m", "finetune", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        timeout=300,
        check=False,
    )


def test_recipes_are_found_by_name_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    listed = call(installed, tmp_path, "recipes")
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in ("quickstart", "cola", "cola-book"))
    shown = call(installed, tmp_path, "show", "quickstart")
    assert str(installed) in shown.stdout.replace("\n", "") or "quickstart.yaml:" in shown.stdout


def test_the_presets_for_accelerate_are_in_the_wheel_and_are_no_recipes(installed: Path, tmp_path: Path) -> None:
    shipped = {path.name for path in (installed / "finetune" / "recipes" / "accelerate").iterdir()}
    assert shipped == {path.name for path in (ROOT / "recipes" / "accelerate").iterdir()} >= {"README.md", "ddp.yaml"}
    assert "multi-node" not in call(installed, tmp_path, "recipes").stdout


def test_a_recipe_of_the_folder_comes_before_the_packaged_one(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "cola.yaml").write_text("task: cola\nmodel: {checkpoint: mine/own}\n")
    assert "mine/own" in call(installed, tmp_path, "show", "cola").stdout


def test_the_embedded_sample_is_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    checked = call(installed, tmp_path, "check", "quickstart", "--only", "data")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "embedded in finetune" in checked.stdout


def test_no_text_tells_anyone_to_install_the_other_project() -> None:
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *(ROOT / "finetune").rglob("*.py"),
        *(path for path in (ROOT / "recipes").rglob("*") if path.is_file()),
    ]:
        assert "pip install finetune\n" not in path.read_text(encoding="utf-8") + "\n", path
        assert "pip install finetune`" not in path.read_text(encoding="utf-8"), path
