"""The presets for accelerate launch: each is what accelerate understands, and says whether it was ever run."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from finetune.errors import UnavailableError
from finetune.processes import refuse_uncuttable
from finetune.recipe_file import list_recipes
from tests.language_models import build_language_model

FOLDER = Path(__file__).parent.parent / "recipes" / "accelerate"
PRESETS = sorted(FOLDER.glob("*.yaml"))
RUN_IN_TESTS = {"cpu-2", "multi-node", "fsdp"}
PROCESSES = {"cpu-2": 2, "ddp": 2, "deepspeed-zero-2": 2, "fsdp": 2, "gpu-1": 1, "multi-node": 16}


def read_launch(preset: Path) -> tuple[SimpleNamespace, set[str]]:
    """Return what `accelerate launch` makes of a preset, and the names of its options."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    parsed = launch_command_parser().parse_args(
        ["--config_file", str(preset), "-m", "finetune", "run", "quickstart", "--out", "x"]
    )
    options = set(vars(parsed))
    settled, _, _ = _validate_launch_command(parsed)
    return settled, options


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_accelerate_knows_every_key_of_a_preset(preset: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    # Refuses keys of its own that it doesn't know, but takes those of the sections as they come.
    config = load_config_from_file(str(preset))
    _, options = read_launch(preset)
    assert not {*config.fsdp_config, *config.deepspeed_config} - options


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_becomes_a_launch_of_as_many_processes(preset: Path) -> None:
    from accelerate.utils import launch

    settled, _ = read_launch(preset)
    assert settled.num_processes == PROCESSES[preset.stem]
    assert settled.training_script_args == ["run", "quickstart", "--out", "x"]
    if settled.use_deepspeed:
        settled.deepspeed_fields_from_accelerate_config = "zero_stage"
        _, environment = launch.prepare_deepspeed_cmd_env(settled)
        assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "2"
    elif settled.num_processes > 1:
        # Only these start processes themselves; accelerate's other way ends in one.
        assert settled.multi_gpu or settled.use_fsdp
        environment = launch.prepare_multi_gpu_env(settled)
        assert int(settled.nproc_per_node) * settled.num_machines == settled.num_processes
    else:
        command, environment = launch.prepare_simple_launcher_cmd_env(settled)
        assert command[1:] == ["-m", "finetune", "run", "quickstart", "--out", "x"]
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no", "the recipe decides on precision"


def test_the_folder_s_readme_and_the_presets_say_which_were_run() -> None:
    lines = (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| `")}
    assert sorted(rows) == [preset.name for preset in PRESETS]
    for preset in PRESETS:
        comment = "".join(line for line in preset.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
        for text in (rows[preset.name], comment):
            assert ("not run" in text.lower()) == (preset.stem != "cpu-2"), preset.name
            assert ("run in the tests" in text.lower()) == (preset.stem in RUN_IN_TESTS), preset.name


def test_presets_are_no_recipes() -> None:
    assert not {preset.stem for preset in PRESETS} & set(list_recipes())


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_weights_that_torch_cannot_cut_are_refused_before_it_fails(architecture: str) -> None:
    with pytest.raises(UnavailableError, match=r"ForMaskedLM: .*cut over processes .* use recipes/accelerate/ddp.yaml"):
        refuse_uncuttable(build_language_model(architecture, "masked"))
    refuse_uncuttable(build_language_model(architecture, "classification"))


@pytest.mark.parametrize("head", ["classification", "causal"])
def test_weights_that_are_shared_with_the_embeddings_alone_can_be_cut(head: str) -> None:
    model = build_language_model("gpt2", head)
    refuse_uncuttable(model)
    read, written = model.get_input_embeddings(), model.get_output_embeddings()
    assert written is None if head == "classification" else written.weight is read.weight
