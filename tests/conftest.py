"""What many tests need: tiny checkpoints built in-process, small data sets, the command line as users call it."""

import os

# Before torch is imported anywhere: one thread, no network, no telemetry.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import build_tiny_checkpoint, write_rows

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a 2-layer BERT with a WordPiece tokenizer."""
    return build_tiny_checkpoint("bert", tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def tiny_distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a 2-layer DistilBERT with a WordPiece tokenizer."""
    return build_tiny_checkpoint("distilbert", tmp_path_factory.mktemp("tiny-distilbert"))


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a 2-layer GPT-2 without a pad token."""
    return build_tiny_checkpoint("gpt2", tmp_path_factory.mktemp("tiny-gpt2"))


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a 2-layer RoBERTa."""
    return build_tiny_checkpoint("roberta", tmp_path_factory.mktemp("tiny-roberta"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory, with no data of this machine in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINETUNE_DATA", raising=False)
    return tmp_path


@pytest.fixture
def own_file(work: Path) -> Path:
    """Return a CSV file of 200 learnable rows with columns text and label."""
    return write_rows(work / "rows.csv", 200)


@pytest.fixture
def finetune(work: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the command line in the working directory."""

    def call(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **dict(options.pop("env", {}))}  # type: ignore[call-overload]
        return subprocess.run(
            [sys.executable, "-m", "finetune", *arguments],
            capture_output=True,
            text=True,
            cwd=work,
            env=environment,
            timeout=300,
            check=False,
            **options,
        )  # type: ignore[call-overload]

    return call


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data sets, or skip."""
    root = os.environ.get("FINETUNE_DATA")
    if not root:
        pytest.skip("FINETUNE_DATA is not set: REAL DATA NOT TESTED")
    return Path(root).absolute()
