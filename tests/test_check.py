"""A check tells beforehand what a run would tell, and writes nothing."""

import re
import shutil
from pathlib import Path

import pytest

from finetune.check import check_recipe_stages
from tests.cli_calls import bytes_below, call, write_recipe


@pytest.fixture(autouse=True)
def here(tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINETUNE_DATA", raising=False)
    write_recipe(tmp_path / "r.yaml", tiny_bert)
    return tmp_path


def check(*arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit code of a check and {stage: (state, message)}, after seeing that it wrote nothing."""
    before = bytes_below(Path())
    done = call("check", "r.yaml", *arguments)
    assert bytes_below(Path()) == before and not Path("runs").exists()
    assert done.stderr == ""
    stages = {}
    for line in done.stdout.splitlines():
        if found := re.fullmatch(r"(ok|failed|unavailable|skipped) +(recipe|data|model|step) +(.*)", line):
            stage, state, message = found[2], found[1], found[3]
        else:
            message += line
        stages[stage] = (state, message)
    return done.returncode, stages


def test_a_sound_recipe_passes_every_stage_with_steps_minutes_and_gigabytes() -> None:
    code, stages = check("seeds=[1,2]", "train.max_steps=6")
    assert code == 0 and [state for state, _ in stages.values()] == ["ok"] * 4, stages
    assert re.search(r"12 steps of 16 examples, about \d+\.\d minutes and \d+\.\d GB of memory", stages["step"][1])
    assert re.search(r"\d+ parameters, SHA-256 [0-9a-f]{12}$", stages["model"][1])
    assert re.search(r"train: 54 rows \(acceptable \d+, unacceptable \d+\); 0 duplicates", stages["data"][1])


def test_steps_follow_from_rows_batch_and_epochs() -> None:
    _, stages = check("train.max_steps=null", "train.epochs=3")
    assert "the run: 12 steps of 16 examples" in stages["step"][1], "54 rows are 4 batches of 16, three times"


SCRATCH = (
    "model.checkpoint=null",
    "model.init=scratch",
    "model.architecture=roberta",
    "model.tokenizer={vocabulary: 300}",
    "model.shape={hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 64, vocab_size: 400}",
)


def test_a_model_from_scratch_is_told_with_both_vocabularies() -> None:
    code, stages = check(*SCRATCH, "task=masked-lm", "data.columns.label=null")
    assert code == 0 and [state for state, _ in stages.values()] == ["ok"] * 4, stages
    assert stages["model"][1].startswith("roberta, from scratch: ")
    assert stages["model"][1].endswith(" parameters, tokenizer 300 of at most 300 entries; model 400")


def test_what_a_tokenizer_is_trained_on_has_to_be_there_for_a_model_to_be_counted() -> None:
    code, stages = check(*SCRATCH, "data.path=gone.csv")
    assert code == 66 and [state for state, _ in stages.values()] == ["ok", "failed", "skipped", "skipped"]


def test_a_shape_that_is_wrong_is_told_with_its_place() -> None:
    code, stages = check(*SCRATCH[:-1], "model.shape={hiden_size: 32}")
    assert code == 78 and stages["model"][0] == "failed"
    assert stages["model"][1].startswith("command line: model.shape.hiden_size: roberta has no such field")


def test_a_recipe_without_training_has_no_step_to_try() -> None:
    code, stages = check("train=null")
    assert code == 0 and stages["step"][1] == "the recipe doesn't train"


@pytest.mark.parametrize(("only", "stages"), [("recipe", 1), ("data", 2), ("model", 3)])
def test_only_ends_after_its_stage(only: str, stages: int) -> None:
    code, found = check("--only", only)
    assert code == 0 and len(found) == stages


def test_a_wrong_recipe_is_78_and_ends_the_check() -> None:
    code, stages = check("train.epochs=no")
    assert code == 78 and {stage: state for stage, (state, _) in stages.items()} == {"recipe": "failed"}


def test_missing_data_is_66_and_the_model_is_still_looked_at() -> None:
    code, stages = check("data.path=gone.csv")
    assert code == 66 and [state for state, _ in stages.values()] == ["ok", "failed", "ok", "skipped"]


def test_wrong_data_is_65() -> None:
    code, stages = check("data.labels=[yes, no]")
    assert code == 65 and "is not one of yes, no" in stages["data"][1]


def test_a_checkpoint_that_is_only_unavailable_is_69() -> None:
    code, stages = check("model.checkpoint=nobody/nothing")
    assert (
        code == 69
        and stages["data"][0] == "ok"
        and stages["model"][0] == "unavailable"
        and stages["step"][0] == "skipped"
    )


def test_a_failure_outweighs_what_is_only_unavailable() -> None:
    code, _ = check("model.checkpoint=nobody/nothing", "data.path=gone.csv")
    assert code == 66


def test_a_damaged_checkpoint_is_65(tiny_bert: Path, here: Path) -> None:
    shutil.copytree(tiny_bert, here / "broken")
    (here / "broken/model.safetensors").write_bytes(b"x")
    code, stages = check("model.checkpoint=./broken")
    assert code == 65 and "truncated or damaged" in stages["model"][1]


def test_a_length_that_the_checkpoint_cannot_take_is_told_of_the_model() -> None:
    code, stages = check("data.max_length=999")
    assert code == 78 and stages["model"][0] == "failed" and "2 to 64" in stages["model"][1]


def test_what_only_a_step_can_tell_is_told() -> None:
    for override, saying in {
        "train.precision=fp16": "needs a GPU",
        "train.micro_batch_size=5": "16 / 5 = 3.2",
    }.items():
        code, stages = check(override)
        assert code == 78 and stages["step"][0] == "failed" and saying in stages["step"][1], (override, stages)


def test_stages_are_yielded_as_they_are_known() -> None:
    stages = check_recipe_stages("r.yaml", [])
    assert next(stages).stage == "recipe"
    assert next(stages).stage == "data"
    stages.close()
