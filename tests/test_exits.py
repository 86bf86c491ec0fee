"""The end of every command: exit codes, one message, light imports, and workers that speak with one voice."""

import json
import os
import resource
import signal
import socket
import stat
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune import launch
from finetune.errors import FinetuneError, ResourceError, SettingError, UsageError
from tests.cli_calls import ROOT, bytes_below, call, start, wait_until, write_recipe

HEAVY = ("torch", "transformers", "datasets", "sklearn")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ACCELERATE = Path(sys.executable).with_name("accelerate")


@pytest.fixture
def recipe(work: Path, tiny_bert: Path) -> Path:
    """Return a recipe of four steps in the working directory."""
    return write_recipe(work / "r.yaml", tiny_bert)


def run_python(code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**ENVIRONMENT, **variables}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


# Cost


@pytest.fixture
def report_folder(work: Path) -> Path:
    """Return a run folder that holds a report only."""
    from tests import report_examples

    examples = [
        value
        for value in vars(report_examples).values()
        if callable(value) and getattr(value, "__annotations__", {}).get("return")
    ]
    made = next(report for build in examples if (report := _try_build(build)) is not None)
    (work / "run").mkdir()
    (work / "run/report.json").write_text(made.model_dump_json(), encoding="utf-8")
    return work / "run"


def _try_build(build: Callable) -> object:
    from finetune.records import Report

    try:
        made = build()
    except TypeError:
        return None
    return made if isinstance(made, Report) else None


LIGHT = [["--help"], ["run", "--help"], ["--version"], ["show", "r.yaml"], ["recipes"], ["schema"], ["check", "r.yaml", "--only", "recipe"],
         ["init", "rows.csv", "--out", "x.yaml"], ["status", "run"], ["run", "nowhere"], ["run", "r.yaml", "--processes", "0"],
         ["predict", "nowhere", "x"], ["report", "run"], ["reproduce", "r.yaml"], ["evaluate", "run", "--require", "accuracy.top>1"],
         ["compare", "run", "run"], ["compare", "run", "nowhere"], ["push", "nowhere", "me/x"],
         ["submission", "nowhere", "--data", "x"]]  # fmt: skip


def test_commands_that_compute_nothing_import_nothing_heavy(recipe: Path, report_folder: Path) -> None:
    # One process for all of them: what any one imports stays imported.
    code = f"""
import io, sys
from contextlib import redirect_stderr, redirect_stdout
from finetune.exits import main
for arguments in {LIGHT!r}:
    sys.argv = ["finetune", *arguments]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        try:
            main()
        except SystemExit as end:
            assert "fault" not in said.getvalue() and "Traceback" not in said.getvalue(), said.getvalue()
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""
    done = run_python(code, recipe.parent)
    assert done.returncode == 0, done.stderr


def test_help_costs_little_more_than_the_packages_it_stands_on(work: Path) -> None:
    def cost(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    ours = statistics.median(cost("-m", "finetune", "--help") for _ in range(5))
    theirs = statistics.median(cost("-c", "import typer, rich, pydantic, ruamel.yaml") for _ in range(5))
    assert ours < 2.5 * theirs, f"{ours:.3f} s against {theirs:.3f} s"


# Streams


def test_a_reader_that_leaves_early_is_no_error(work: Path) -> None:
    for command in ("schema", "recipes --markdown", "--help"):
        script = f"{sys.executable} -m finetune {command} | true; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.stderr == "" and done.stdout == "0\n", done
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m finetune schema | head -1"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "" and done.stdout == "{\n"


def test_output_into_a_full_disk_is_74(finetune: Callable) -> None:
    for command in ("schema", "recipes", "--version"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "finetune", command],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                check=False,
            )
        assert done.returncode == 74 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr, (
            done.stderr
        )


def test_closed_streams_do_no_harm(recipe: Path, report_folder: Path) -> None:
    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", f"{sys.executable} -m finetune {command}"], cwd=recipe.parent, text=True,
                              env=ENVIRONMENT, capture_output=True, check=False)  # fmt: skip

    without_input = run("predict run <&-")
    assert without_input.returncode == 2 and "no text given" in without_input.stderr
    assert run("show r.yaml <&-").returncode == 0
    assert run("show r.yaml >&-").returncode == 0
    assert run("show nowhere 2>&-").returncode == 66
    assert run("show nowhere <&- >&- 2>&-").returncode == 66


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TERM": "dumb", "NO_COLOR": "1"},
        {"COLUMNS": "20"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_any_terminal_will_do(recipe: Path, report_folder: Path, finetune: Callable, variables: dict[str, str]) -> None:
    recipe.write_text(recipe.read_text(encoding="utf-8") + "note: 日本語 \U0001f600\n", encoding="utf-8")
    for command in (["show", "r.yaml"], ["report", "run"], ["recipes"], ["run", "--help"]):
        done = finetune(*command, env=variables)
        assert done.returncode == 0 and done.stderr == "", (command, done.stderr)
    if "PYTHONIOENCODING" in variables:
        assert "\\u65e5\\u672c" in finetune("show", "r.yaml", env=variables).stdout


def test_a_japanese_label_is_predicted_on_an_ascii_terminal(work: Path, tiny_bert: Path, finetune: Callable) -> None:
    write_recipe(work / "r.yaml", tiny_bert)
    rows = (work / "rows.csv").read_text().replace("unacceptable", "駄目")
    (work / "rows.csv").write_text(rows, encoding="utf-8")
    assert call("run", "r.yaml", "train.max_steps=1", "--out", "run").returncode == 0
    done = finetune("predict", "run", "--json", "a dog \U0001f600", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and "駄目" in json.loads(done.stdout)["probabilities"], done.stderr
    assert json.loads(done.stdout)["text"] == "a dog \U0001f600"


# Unexpected ends


def raising(error: BaseException) -> Callable:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "saying"),
    [
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (MemoryError(), 71, "out of memory: lower train.micro_batch_size"),
        (RuntimeError("CPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 71, "out of memory"),
        (OSError(28, "No space left on device"), 74, "No space left on device"),
        (OSError(27, "File too large"), 74, "File too large"),
        (RuntimeError("I/O error: File too large (os error 27)"), 74, "File too large"),
        (PermissionError(13, "Permission denied", "x.yaml"), 77, "x.yaml: no permission"),
        (
            ZeroDivisionError("a\nb"),
            70,
            "a fault of this program: ZeroDivisionError: a; the details are in finetune-debug.log",
        ),
    ],
)
def test_every_end_has_its_code_and_one_line(
    work: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, saying: str
) -> None:
    monkeypatch.setattr("finetune.recipe_file.load_recipe", raising(error))
    done = call("show", "r.yaml")
    assert done.returncode == code and saying in done.stderr and done.stderr.count("\n") == 1
    assert (work / "finetune-debug.log").exists() == (code == 70)


def test_debug_shows_the_traceback(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNE_DEBUG", "")
    monkeypatch.setattr("finetune.recipe_file.load_recipe", raising(UsageError("wrong")))
    assert "Traceback" not in call("show", "r.yaml").stderr
    assert "Traceback" in call("--debug", "show", "r.yaml").stderr


def test_no_exit_code_has_two_meanings() -> None:
    def below(kind: type[FinetuneError]) -> list[type[FinetuneError]]:
        # A SettingError is a RecipeError, told of one value.
        children = [child for child in kind.__subclasses__() if child is not SettingError]
        return [kind, *(found for child in children for found in below(child))]

    codes = [kind.exit_code for kind in below(FinetuneError)]
    assert len(set(codes)) == len(codes)


def test_a_disk_that_fills_during_the_run_is_74(recipe: Path) -> None:
    # Weights are the first file larger than the limit; Python itself ignores the signal that comes with it.
    command = f"ulimit -f 40; exec {sys.executable} -m finetune run r.yaml --out run"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=recipe.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 74, done.stderr
    assert "File too large" in done.stderr and done.stderr.count("\n") == 1
    assert json.loads((recipe.parent / "run/status.json").read_text())["state"] == "failed"
    assert not (recipe.parent / "run/report.json").exists()
    assert call("run", "r.yaml", "--out", "run", "--resume").returncode == 0, "with room on the disk it goes on"


# Launchers


def test_accelerate_launch_that_would_start_one_process_for_several_is_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    done = call("run", "r.yaml", "--out", "run")
    assert done.returncode == 78 and "use instead: finetune run RECIPE --processes N" in done.stderr
    assert not Path("run").exists()


def accelerate_launch(cwd: Path, count: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ACCELERATE), "launch", "--cpu", "--num_processes", str(count), "--num_machines", "1", "--mixed_precision", "no",
         "--dynamo_backend", "no", "-m", "finetune", "run", "r.yaml", "train.max_steps=1", "--out", "run"],
        cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False)  # fmt: skip


@pytest.mark.processes
@pytest.mark.skipif(not ACCELERATE.exists(), reason="the accelerate command is not beside this Python")
def test_the_real_accelerate_launch_is_refused_for_two_processes_and_works_for_one(recipe: Path) -> None:
    two = accelerate_launch(recipe.parent, 2)
    assert two.returncode != 0 and "use instead: finetune run RECIPE --processes N" in two.stderr
    assert not (recipe.parent / "run").exists()
    one = accelerate_launch(recipe.parent, 1)
    assert one.returncode == 0, one.stderr
    assert (recipe.parent / "run/report.json").is_file()


@pytest.fixture
def stand_in(work: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a shell script in the place of the workers."""

    def install(script: str) -> None:
        path = work / "worker"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(launch.sys, "executable", str(path))

    return install


@pytest.mark.processes
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("echo voice $RANK >&2; exit 78", 78),
        # One alone knows the cause; the others see that it has gone.
        ("if [ $RANK = 1 ]; then echo voice 1 >&2; exit 71; fi; sleep 0.3; exit 70", 71),
        ("if [ $RANK = 0 ]; then echo voice 0 >&2; exit 74; fi; sleep 60", 74),
        ("if [ $RANK = 0 ]; then echo voice 0 >&2; exit 3; fi; exit 70", 3),
    ],
)
def test_workers_speak_with_one_voice(
    stand_in: Callable, capfd: pytest.CaptureFixture[str], script: str, code: int
) -> None:
    stand_in(script)
    began = time.monotonic()
    assert launch.run_in_processes(3, ["run"], "finetune run r") == code
    assert time.monotonic() - began < 20
    assert capfd.readouterr().err.count("voice") == (0 if code == 0 else 1)


@pytest.mark.processes
def test_a_worker_killed_from_outside_is_71(stand_in: Callable) -> None:
    stand_in("if [ $RANK = 1 ]; then kill -9 $$; fi; sleep 0.3; exit 70")
    with pytest.raises(ResourceError, match="process 1 of the run was ended by signal 9"):
        launch.run_in_processes(2, ["run"], "")


@pytest.mark.processes
def test_no_worker_outlives_the_first(stand_in: Callable, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SECONDS_OF_GRACE", 0.5)
    stand_in(f"echo $$ > {work}/$RANK.pid; if [ $RANK = 0 ]; then sleep 0.5; exit 0; fi; exec sleep 600")
    assert launch.run_in_processes(2, ["run"], "") == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((work / "1.pid").read_text()), 0)


@pytest.mark.processes
def test_each_worker_learns_its_place_and_the_command_as_typed(stand_in: Callable, work: Path) -> None:
    stand_in(f'echo "$RANK/$WORLD_SIZE $LOCAL_RANK $MASTER_ADDR $FINETUNE_COMMAND $*" > {work}/$RANK.said')
    assert launch.run_in_processes(2, ["run", "--", "r"], "finetune run r --processes 2") == 0
    for rank in (0, 1):
        said = (work / f"{rank}.said").read_text()
        assert said == f"{rank}/2 {rank} 127.0.0.1 finetune run r --processes 2 -m finetune run -- r\n"


@pytest.mark.processes
def test_two_processes_end_with_the_codes_of_one_and_say_each_error_once(recipe: Path, finetune: Callable) -> None:
    work = recipe.parent
    (work / "taken").mkdir()
    (work / "taken/note.txt").write_text("mine")
    (work / "wrong.csv").write_text("text,label\n" + "".join(f"word {number},x\n" for number in range(40)))
    before = bytes_below(work)
    cases = {
        ("train.batch_size=15", "--out", "run"): (78, "15 examples do not divide over 2 processes (15 / 2 = 7.5)"),
        ("data.path=wrong.csv", "--out", "run"): (65, "every train row is labelled 'x'"),
        ("--out", "taken"): (73, "the folder isn't empty"),
        ("--resume", "--out", "run"): (66, "nothing to resume"),
    }
    for arguments, (code, saying) in cases.items():
        done = finetune("run", "r.yaml", *arguments, "--processes", "2")
        assert done.returncode == code, (arguments, done.stderr)
        assert saying in done.stderr and done.stderr.count("\n") == 1, (arguments, done.stderr)
        assert done.stdout == ""
    assert bytes_below(work) == before


@pytest.mark.processes
def test_two_processes_stop_at_a_loss_that_is_not_finite_and_at_ctrl_c(
    recipe: Path, tiny_bert: Path, finetune: Callable
) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    work = recipe.parent
    shutil.copytree(tiny_bert, work / "large")
    weights = load_file(tiny_bert / "model.safetensors")
    large = {name: value * 1e25 for name, value in weights.items() if "query.weight" in name or "key.weight" in name}
    save_file(weights | large, work / "large/model.safetensors", metadata={"format": "pt"})
    done = finetune("run", "r.yaml", "model.checkpoint=./large", "--processes", "2", "--out", "bad")
    assert done.returncode == 3 and "not finite at step" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert json.loads((work / "bad/status.json").read_text())["exit_code"] == 3
    process = start(work, "run", "r.yaml", "train.max_steps=500", "--processes", "2", "--out", "stopped")
    events = work / "stopped/events.jsonl"
    wait_until(lambda: events.exists() and events.read_text().count("\n"), process)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stdout == "" and "Traceback" not in stderr and stderr.count("\n") == 1, stderr
    status = json.loads((work / "stopped/status.json").read_text())
    assert status["state"] == "stopped" and status["host"] == socket.gethostname()


def test_a_shell_can_complete_commands(finetune: Callable) -> None:
    asked = {"_FINETUNE_COMPLETE": "complete_bash", "COMP_WORDS": "finetune sch", "COMP_CWORD": "1"}
    done = finetune(env=asked)
    assert done.returncode == 0 and done.stdout.split() == ["schema"], done
