"""A finished run of every objective, asked about new texts in Python and on the command line."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune import FittedRun, load_recipe, load_run, run_recipe
from finetune.completion import Sampling
from finetune.errors import DataError, UsageError
from finetune.run_dir import RunDir
from tests.cli_calls import call
from tests.tiny import build_sentences

Runs = Callable[[str], FittedRun]
SENTENCES = [text for text, _ in build_sentences(60)]
TEXTS = ["The dog walks in the garden.", "A small bird sing."]
ASKED = "train: null\nevaluate: {bootstrap: 100}\n"
TRAINED = "train: {max_steps: 2, batch_size: 8, learning_rate: 1.0e-3, precision: fp32, threads: 1}\nevaluate: {bootstrap: 100}\n"
PROMPT = "train: null\nevaluate: {bootstrap: 100, prompt: {shots: %d, template: '{text} So{answer}', answers: {no: ' n', yes: ' y'}}}\n"
RECIPES = {
    "classes": ("text-classification", "tiny_bert", "rows.csv", "{text: text, label: word}", TRAINED),
    "pairs": ("pair-classification", "tiny_bert", "rows.csv", "{text: text, text_pair: other, label: word}", TRAINED),
    "regression": ("regression", "tiny_bert", "rows.csv", "{text: text, label: number}", TRAINED),
    "multilabel": ("multilabel", "tiny_bert", "rows.csv", "{text: text, labels: [first, second]}", TRAINED),
    "nsp": ("nsp", "tiny_bert", "documents.txt", "{text: text}", TRAINED),
    "masked": ("masked-lm", "tiny_roberta", "documents.txt", "{text: text}", TRAINED),
    "pretraining": ("wikitext2-pretraining", "tiny_bert", "documents.txt", "{text: text}", TRAINED),
    "causal": ("causal-lm", "tiny_gpt2", "documents.txt", "{text: text}", TRAINED),
    "minimal": ("blimp", "masked", "rows.csv", "{text: text, text_pair: other}", ASKED),
    "prompted": ("text-classification", "causal", "rows.csv", "{text: text, label: word}", PROMPT % 0),
    "few-shot": ("text-classification", "causal", "rows.csv", "{text: text, label: word}", PROMPT % 1),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Runs:
    """Return a function that gives a run of each kind, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    write_data(folder)

    def get(name: str) -> FittedRun:
        if not (folder / name).exists():
            task, origin, file, columns, rest = RECIPES[name]
            checkpoint = get(origin).path if origin in RECIPES else request.getfixturevalue(origin)
            (folder / f"{name}.yaml").write_text(
                f"task: {task}\nmodel: {{checkpoint: {checkpoint}}}\n"
                f"data: {{path: {file}, columns: {columns}{', documents: line' if file.endswith('txt') else ''}}}\n{rest}"
            )
            run_recipe(load_recipe(folder / f"{name}.yaml"), folder / name)
        return load_run(folder / name)

    return get


def write_data(folder: Path) -> None:
    lines = [
        f"{text},{text[::-1]},{'yes' if number % 3 else 'no'},{number / 7:.2f},{number % 2},{int(number % 5 < 2)}\n"
        for number, text in enumerate(SENTENCES)
    ]
    (folder / "rows.csv").write_text("text,other,word,number,first,second\n" + "".join(lines))
    (folder / "documents.txt").write_text("".join(f"{a} {b}\n" for a, b in pairwise(SENTENCES)))


def show(run: FittedRun, *arguments: str) -> list[dict[str, Any]]:
    """Return what the command line prints as JSON."""
    done = call("predict", str(run.path), "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["classes", "prompted", "few-shot"])
def test_texts_get_a_label_with_probabilities(runs: Runs, name: str) -> None:
    run = runs(name)
    answers = run.predict(TEXTS)
    assert [answer["probabilities"] for answer in show(run, *TEXTS)] == [answer.probabilities for answer in answers]
    for answer in answers:
        assert set(answer.probabilities) == {"no", "yes"} and sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)


@pytest.mark.parametrize("name", ["classes", "pairs", "prompted", "few-shot", "minimal", "nsp"])
def test_the_rows_of_the_run_get_the_probabilities_that_it_wrote(runs: Runs, name: str) -> None:
    run = runs(name)
    rows = [json.loads(line) for line in RunDir(run.path).rows.read_text().splitlines()]
    written = [json.loads(line)["probabilities"] for line in RunDir(run.path).predictions.read_text().splitlines()]
    texts = [tuple(row["texts"]) if run.takes_pairs else row["texts"][0] for row in rows]
    found = [list(answer.probabilities.values()) for answer in run.predict(texts)]
    np.testing.assert_allclose(found, written, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "labels"), [("pairs", {"no", "yes"}), ("nsp", {"IsNext", "NotNext"}), ("minimal", {"first", "second"})]
)
def test_pairs_are_judged_and_written_with_a_tab(runs: Runs, name: str, labels: set[str]) -> None:
    run = runs(name)
    (shown,) = show(run, "The dog walks.\tA bird sing.")
    (answer,) = run.predict([("The dog walks.", "A bird sing.")])
    assert shown["label"] == answer.label and shown["probabilities"] == answer.probabilities
    assert set(answer.probabilities) == labels
    done = call("predict", str(run.path), "no tab")
    assert done.returncode == 2 and "two texts with a tab between, found 'no tab'" in done.stderr


def test_a_regression_gives_numbers_and_several_labels_come_as_a_set(runs: Runs) -> None:
    numbers = runs("regression").predict_numbers(TEXTS)
    assert [shown["number"] for shown in show(runs("regression"), *TEXTS)] == numbers
    assert call("predict", str(runs("regression").path), TEXTS[0]).stdout == f"{numbers[0]:.3f}\t{TEXTS[0]}\n"
    sets = runs("multilabel").predict_label_sets(TEXTS)
    for found, shown in zip(sets, show(runs("multilabel"), *TEXTS), strict=True):
        assert shown["labels"] == list(found.labels) and shown["probabilities"] == found.probabilities
        assert list(found.labels) == [name for name, value in found.probabilities.items() if value >= 0.5]
        assert list(found.probabilities) == ["first", "second"]


@pytest.mark.parametrize("name", ["masked", "pretraining"])
def test_a_masked_language_model_fills_masks(runs: Runs, name: str) -> None:
    run = runs(name)
    (shown,) = show(run, "The <mask> walks [MASK].", "--top-k", "3")
    found = run.fill_mask(["The <mask> walks [MASK]."], top_k=3)[0]
    assert shown["masks"] == [[{"token": f.token, "probability": f.probability} for f in mask] for mask in found]
    lines = call("predict", str(run.path), "The <mask> walks.").stdout.splitlines()
    token = run.fill_mask(["The <mask> walks."])[0][0][0].token.strip()
    assert len(lines) == 5 and lines[0].startswith(f"{token}\t0.0") and lines[0].endswith(f"\tThe {token} walks.")
    assert "no place to fill" in call("predict", str(run.path), "The dog walks.").stderr


def test_a_causal_language_model_goes_on(runs: Runs) -> None:
    run = runs("causal")
    options = ("--seed", "3", "--max-new-tokens", "9", "--temperature", "0.7", "--top-k", "9")
    (shown,) = show(run, "The dog", *options)
    assert [shown["completion"]] == run.complete(["The dog"], Sampling(9, 0.7, 9, 3))
    assert call("predict", str(run.path), "The dog", *options).stdout.startswith("The dog")
    assert run.complete(["The dog"]) == run.complete(["The dog"])
    assert run.complete(["The dog"]) != run.complete(["The dog"], Sampling(seed=2))


@pytest.mark.parametrize("name", ["causal", "masked", "pretraining", "minimal", "prompted"])
def test_every_language_model_says_how_likely_a_text_is(runs: Runs, name: str) -> None:
    run = runs(name)
    found = run.likelihood(TEXTS)
    for likelihood, shown in zip(found, show(run, "--likelihood", *TEXTS), strict=True):
        assert shown["log_likelihood"] == likelihood.log_likelihood < 0
        assert (shown["tokens"], shown["perplexity"]) == (likelihood.tokens, likelihood.perplexity)
    line = call("predict", str(run.path), "--likelihood", TEXTS[0]).stdout.rstrip("\n").split("\t")
    assert line[0] == f"{found[0].log_likelihood:.3f}" and line[-1] == TEXTS[0]
    with pytest.raises(DataError, match="1 of 1 texts are longer than the 64 tokens of the model"):
        run.likelihood(["dog " * 100])


def test_minimal_pairs_prefer_the_likelier_sentence(runs: Runs) -> None:
    first, second = (found.log_likelihood for found in runs("minimal").likelihood(TEXTS))
    (answer,) = runs("minimal").predict([(TEXTS[0], TEXTS[1])])
    assert answer.probabilities["first"] == pytest.approx(1 / (1 + np.exp(second - first)), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (
            "masked",
            lambda run: run.complete(TEXTS),
            "completions are not what a model of task masked-lm (MaskedLM) gives",
        ),
        (
            "causal",
            lambda run: run.fill_mask(TEXTS),
            "tokens for a mask are not what a model of task causal-lm (CausalLM)",
        ),
        ("causal", lambda run: run.predict(TEXTS), "labels are not what a model of task causal-lm (CausalLM) gives"),
        ("classes", lambda run: run.likelihood(TEXTS), "likelihoods of texts are not what a model of task text-class"),
        ("regression", lambda run: run.predict(TEXTS), "one label a text are not what"),
        ("classes", lambda run: run.predict_numbers(TEXTS), "numbers are not what"),
        ("classes", lambda run: run.predict_label_sets(TEXTS), "several labels a text are not what"),
    ],
)
def test_a_model_asked_for_what_it_does_not_give_says_so(
    runs: Runs, name: str, wrong: Callable[[FittedRun], object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        wrong(runs(name))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("classes", ("--top-k", "3"), "--top-k belongs to masks and completion, and this run is asked for labels"),
        ("masked", ("--temperature", "1"), "--temperature belongs to completion, and this run is asked for masks"),
        (
            "causal",
            ("--likelihood", "--seed", "1"),
            "--seed belongs to completion, and this run is asked for likelihood",
        ),
        ("prompted", ("--max-new-tokens", "1"), "--max-new-tokens belongs to completion"),
        ("classes", ("--likelihood",), "likelihoods of texts are not what a model of task text-classification"),
    ],
)
def test_an_option_that_does_not_fit_the_run_is_refused(
    runs: Runs, name: str, options: tuple[str, ...], message: str
) -> None:
    done = call("predict", str(runs(name).path), *options, "The dog")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("classes", lambda run, text: run.predict([text])),
        ("causal", lambda run, text: run.complete([text], Sampling(9, 2.0, 99, 3))),
        ("causal", lambda run, text: run.likelihood([text])),
        ("masked", lambda run, text: run.likelihood([text])),
        ("masked", lambda run, text: run.fill_mask([text + " <mask>"])),
    ],
)
def test_texts_are_changed_as_the_rows_of_the_run_were(
    runs: Runs, tmp_path: Path, name: str, ask: Callable[[FittedRun, str], Any]
) -> None:
    run = runs(name)
    (tmp_path / "run").symlink_to(run.path, target_is_directory=True)
    changed = load_run(tmp_path / "run")
    changed.report.recipe["data"]["replace"] = {"cat": "dog"}
    assert ask(changed, "The cat walks.") == ask(run, "The dog walks.") != ask(run, "The cat walks.")


def test_worked_examples_of_a_run_whose_train_rows_changed_are_refused(runs: Runs) -> None:
    run = runs("few-shot")
    rows = Path(run.report.recipe["data"]["path"])
    kept = rows.read_text()
    try:
        rows.write_text(kept.replace("dog", "cat"))
        with pytest.raises(DataError, match="the train rows, of which some are shown, have changed since the run"):
            load_run(run.path).predict(TEXTS)
    finally:
        rows.write_text(kept)


def test_no_texts_get_no_answers(runs: Runs) -> None:
    assert runs("classes").predict([]) == runs("regression").predict_numbers([]) == runs("causal").likelihood([]) == []


@pytest.mark.parametrize("name", ["few-shot", "minimal"])
def test_a_model_that_was_only_asked_is_measured_again_as_the_run_asked_it(
    runs: Runs, name: str, tmp_path: Path
) -> None:
    run, rows = runs(name), Path(runs(name).report.recipe["data"]["path"])
    for number, options in enumerate(([], ["--data", str(rows)])):
        done = call("evaluate", str(run.path), *options, "--out", str(tmp_path / str(number)))
        assert done.returncode == 0, done.stderr
    assert RunDir(tmp_path / "0").predictions.read_bytes() == RunDir(run.path).predictions.read_bytes()
    assert load_run(tmp_path / "1").report.data.splits[-1].rows == 60


def test_each_seed_of_a_prompted_run_shows_worked_examples_of_its_own(runs: Runs, tmp_path: Path) -> None:
    recipe = load_recipe(runs("few-shot").path.with_suffix(".yaml"), ["seeds=[1,2]"])
    several = run_recipe(recipe, tmp_path / "several")
    first, second = (RunDir(several.path).seed(seed).predictions.read_bytes() for seed in (1, 2))
    assert first == RunDir(runs("few-shot").path).predictions.read_bytes() != second
    assert several.predict(TEXTS) == runs("few-shot").predict(TEXTS), (
        "the model of the first seed is kept, and its prompt"
    )
