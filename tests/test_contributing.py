"""CONTRIBUTING's steps for adding a task, executed as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import build_sentences

ROOT = Path(__file__).parent.parent


def read_steps() -> dict[str, str]:
    """Return {file: content} of the fenced blocks whose info string names a file."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:python|yaml) (\S+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return dict(blocks)


@pytest.mark.end_to_end
def test_adding_a_task_is_one_file_and_one_recipe(work: Path, tiny_bert: Path) -> None:
    shutil.copytree(ROOT / "finetune", work / "finetune", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "recipes", work / "recipes")
    steps = read_steps()
    assert set(steps) == {"finetune/tasks/question_kind.py", "recipes/question-kind.yaml"}
    for name, content in steps.items():
        (work / name).write_text(content, encoding="utf-8")
    folder = work / "data" / "question_kind"
    folder.mkdir(parents=True)
    for name, rows, seed in (("train", 200, 0), ("test", 60, 1)):
        lines = [
            f"{text}\t{'PER' if label == 'acceptable' else 'LOC'}\n" for text, label in build_sentences(rows, seed)
        ]
        (folder / f"{name}.tsv").write_text("question\tkind\n" + "".join(lines), encoding="utf-8")
    tiny = [f"model.checkpoint={tiny_bert}", "model.revision=null", "train.max_steps=4", "evaluate.bootstrap=100"]

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(work), "FINETUNE_DATA": str(work / "data"), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-m", "finetune", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            cwd=work,
            timeout=300,
            check=False,
        )

    listed = call("recipes")
    assert "question-kind" in listed.stdout, listed.stderr
    checked = call("check", "question-kind", *tiny)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "train: 200 rows (person " in checked.stdout
    done = call("run", "question-kind", *tiny, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "Kind of question" in (work / "run" / "report.md").read_text(encoding="utf-8")
