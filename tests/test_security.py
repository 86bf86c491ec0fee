"""Safe by default: a real run in a hostile place asks no network, runs nothing that it finds, and tells no secret."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from finetune.checkpoint import Checkpoint
from finetune.checkpoint_files import find_checkpoint
from finetune.errors import RecipeError
from finetune.recipe_file import load_recipe
from finetune.run_dir import RunDir
from tests.cli_calls import ROOT, call, write_recipe
from tests.test_resume import train
from tests.tiny import build_tiny_checkpoint

TOKENS = {
    "HF_TOKEN": "hf_CANARY0123456789abcdefABCDEF",
    "HUGGING_FACE_HUB_TOKEN": "hf_CANARY9876543210abcdefABCDEF",
    "WANDB_API_KEY": "CANARY" + "0" * 34,
    "OPENAI_API_KEY": "sk-CANARY0123456789abcdef",
    "AWS_SECRET_ACCESS_KEY": "CANARY/0123456789",
}
# What libraries would read of a model's folder, or of a checkpoint's.
PICKLES = (
    *("pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth"),
    *("rng_state_0.pth", "random_states_0.pkl", "custom_checkpoint_0.pkl", "adapter_model.bin", "tokenizer.pkl"),
)
# Notes every attempt of the process to reach another, to build objects of a pickle, or to run what a stranger wrote.
WATCHED = """
import os, sys
place, notes = os.getcwd(), os.environ.pop("NOTES")
def note(event, arguments):
    network = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")
    is_strange = event == "exec" and str(getattr(arguments[0], "co_filename", "")).startswith(place)
    if event in (*network, "pickle.find_class") or is_strange:
        number = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(number, f"{event} {arguments}\\n".encode())
        os.close(number)
        raise OSError("refused by the test")
sys.addaudithook(note)
from finetune.exits import main
main()
"""


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.path,)


def plant(folder: Path, canary: Path) -> None:
    """Put beside a model, or a training's state, what would run when a library reads or imports it."""
    for name in PICKLES:
        (folder / name).write_bytes(pickle.dumps(Canary(canary)))
    for name in ("modeling_evil.py", "tokenization_evil.py", "conftest.py", "sitecustomize.py", "__init__.py"):
        (folder / name).write_text(f"open({str(canary)!r}, 'w').close()\n")


@dataclass(frozen=True)
class Hostile:
    """A run in a hostile place: its folder, what it printed, what was noted of it, and the canary's file."""

    run: Path
    printed: str
    notes: Path
    canary: Path


@pytest.fixture(scope="module")
def hostile(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """Train a model that is beset by pickles and code, in a folder of such, with tokens in the environment."""
    work = tmp_path_factory.mktemp("hostile")
    shutil.copytree(tiny_bert, work / "evil")
    write_recipe(work / "r.yaml", "./evil")
    plant(work / "evil", work / "canary")
    plant(work, work / "canary")
    (work / "torch.py").write_text(f"open({str(work / 'canary')!r}, 'w').close()\n")
    for name, classes in {
        "config.json": {"AutoConfig": "modeling_evil.C", "AutoModelForSequenceClassification": "modeling_evil.M"},
        "tokenizer_config.json": {"AutoTokenizer": ["tokenization_evil.T", None]},
    }.items():
        told = json.loads((work / "evil" / name).read_text())
        (work / "evil" / name).write_text(json.dumps({**told, "auto_map": classes}))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        # -P, as the installed command: the working directory is no place to import from.
        [sys.executable, "-P", "-c", WATCHED, "run", "r.yaml", "train.save_every=2", "--out", "run"],
        cwd=work,
        env={**kept, **TOKENS, "NOTES": str(work / "notes"), "PYTHONPATH": str(ROOT), "HF_HOME": str(work / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Hostile(work / "run", done.stdout + done.stderr, work / "notes", work / "canary")


def test_a_run_reaches_for_no_network_builds_nothing_of_a_pickle_and_runs_nothing_beside_a_model(
    hostile: Hostile,
) -> None:
    assert not hostile.notes.exists(), hostile.notes.read_text()
    assert not hostile.canary.exists()
    pickle.loads((hostile.run.parent / "evil" / "pytorch_model.bin").read_bytes())
    assert hostile.canary.exists(), "the canary would have sung"
    hostile.canary.unlink()


def test_what_a_run_leaves_holds_no_pickle_and_no_code(hostile: Hostile) -> None:
    assert not {path.suffix for path in hostile.run.rglob("*")} & {".bin", ".pt", ".pth", ".pkl", ".py", ".pickle"}
    assert not [path for path in hostile.run.rglob("*.json") if b"auto_map" in path.read_bytes()]


def test_no_token_of_the_environment_is_in_what_a_run_writes_or_prints(hostile: Hostile) -> None:
    told = [path for path in hostile.run.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]
    assert told == [] and "CANARY" not in hostile.printed
    assert not [
        path for path in hostile.run.rglob("*.json") if b'"HOME"' in path.read_bytes() or b'"PATH"' in path.read_bytes()
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["doctor"], 0),
        (["run", "r.yaml", "model.checkpoint=me/private", "--out", "out"], 69),
        (["run", "r.yaml", "train.learning_rate=x", "--out", "out"], 78),
        (["--debug", "run", "r.yaml", "model.checkpoint=./nowhere", "--out", "out"], 66),
        (["push", "nowhere", "me/model"], 66),
    ],
)
def test_no_token_is_in_what_other_commands_print(
    arguments: list[str], code: int, work: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    write_recipe(work / "r.yaml", tiny_bert)
    done = call(*arguments)
    assert done.returncode == code, done.stderr
    assert "CANARY" not in done.stdout + done.stderr
    assert not [path for path in work.rglob("*") if path.is_file() and b"CANARY" in path.read_bytes()]


def test_pickles_beside_the_state_of_a_training_are_not_opened_when_it_goes_on(tmp_path: Path) -> None:
    tiny = Checkpoint(build_tiny_checkpoint("bert", tmp_path / "tiny", layers=1), "tiny", "0" * 64)
    run = RunDir(tmp_path / "run")
    settings = {"max_steps": 4, "save_every": 2}
    _, events, _ = train(tiny, run.path, **settings)
    shutil.rmtree(run.checkpoints / "checkpoint-4")
    plant(run.checkpoints / "checkpoint-2", tmp_path / "canary")
    resume_from, passed_over = find_checkpoint(run.checkpoints)
    assert resume_from == run.checkpoints / "checkpoint-2" and passed_over == []
    assert train(tiny, run.path, resume_from, **settings)[1] == events
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["...yaml", "..yaml", "....yaml", ".yaml", "a b.yaml", "\x1b.yaml"])
def test_no_recipe_s_name_leads_out_of_the_folder_of_runs(name: str, work: Path) -> None:
    (work / name).write_text("task: cola\nmodel: {checkpoint: a/b}\n")
    (work / "runs").mkdir()
    if Path(name).stem in (".", ".."):
        with pytest.raises(RecipeError, match="a recipe's file needs a name"):
            load_recipe(work / name)
    else:
        assert (Path("runs") / load_recipe(work / name).name).resolve().parent == (work / "runs").resolve()
