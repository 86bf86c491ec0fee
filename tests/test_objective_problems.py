"""What a recipe can't ask of its task: every such key named with its place, all of them at once."""

from pathlib import Path

import pytest

from finetune.errors import RecipeError
from finetune.recipe_file import load_recipe

LM = "for causal language modelling, masked language modelling, next sentence prediction, pretraining"


def problems(work: Path, task: str, text: str) -> list[str]:
    path = work / "r.yaml"
    path.write_text(f"task: {task}\nmodel: {{checkpoint: ./m}}\n{text}", encoding="utf-8")
    try:
        load_recipe(path)
    except RecipeError as error:
        assert all("\n" not in problem for problem in error.problems)
        return [problem.removeprefix(f"{path}:") for problem in error.problems]
    return []


CSV = "data: {path: a.csv, columns: {text: a, label: b}}\n"
PAIR = "data: {path: a.csv, columns: {text: a, text_pair: b}}\n"
LABELS = "data: {path: a.csv, columns: {text: a, labels: [b, c]}}\n"


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("text-classification", CSV + "train: {class_weights: balanced, label_smoothing: 0.1}\nevaluate: {temperature: true}\n"),
        ("text-classification", CSV + "train: {auxiliary_lm_weight: 0.5}\n"),
        ("text-classification", "data: {path: a.csv, columns: {text: a, text_pair: c, label: b}}\n"),
        ("regression", CSV),
        ("multilabel", LABELS + "train: {class_weights: balanced}\n"),
        ("multilabel", "data: {path: a.csv, columns: {text: a, labels: [2, 3]}, header: false, labels: [x, y]}\n"),
        ("masked-lm", "data: {path: a.txt}\ntrain: {mask_probability: 0.3, whole_word_masking: true}\n"),
        ("masked-lm", "data: {path: a.csv, columns: {text: a}}\n"),
        ("causal-lm", "data: {path: {train: a.txt, test: b.txt}, documents: paragraph}\ntrain: {batching: packed}\n"),
        ("causal-lm", "data: {path: folder, documents: paragraph}\n"),
        ("nsp", "data: {path: a.txt, documents: heading}\n"),
        ("blimp", "train: null\n"),
        # A key that is stated at its default says nothing.
        ("regression", CSV + "train: {mask_probability: 0.15, label_smoothing: 0.0, batching: padded}\n"),
        ("cola", "train: null\nevaluate: {prompt: {shots: 4}}\n"),
        ("text-classification", CSV + "train: null\nevaluate: {prompt: {template: '{text}{answer}', answers: {x: ' x'}}}\n"),
    ],
)  # fmt: skip
def test_what_an_objective_can_do_is_not_refused(work: Path, task: str, text: str) -> None:
    assert problems(work, task, text) == []


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("masked-lm", "", "1: data.path: missing; task masked-lm has no data of its own"),
        (
            "regression",
            "data: {path: a.csv, columns: {text: a}}",
            "3: data.columns: text and label have to be named for task regression; missing: label",
        ),
        (
            "pair-classification",
            CSV,
            "3: data.columns: text, text_pair and label have to be named for task pair-classification; missing: text_pair",
        ),
        (
            "regression",
            CSV + "evaluate: {temperature: true}",
            "4: evaluate.temperature: regression has no use for it; it is for classification",
        ),
        (
            "nsp",
            "evaluate: {threshold: f1}",
            "3: evaluate.threshold: next sentence prediction has no use for it; it is for classification",
        ),
        (
            "regression",
            CSV + "train: {class_weights: balanced}",
            "4: train.class_weights: regression has no use for it; it is for classification, multi-label classification, "
            "next sentence prediction",
        ),
        (
            "masked-lm",
            "data: {path: a.txt}\ntrain: {label_smoothing: 0.1}",
            "4: train.label_smoothing: masked language modelling has no use for it; it is for classification, next sentence prediction",
        ),
        (
            "cola",
            "train: {mask_probability: 0.3}",
            "3: train.mask_probability: classification has no use for it; it is for masked language modelling, pretraining",
        ),
        (
            "causal-lm",
            "data: {path: a.txt}\ntrain: {whole_word_masking: true}",
            "4: train.whole_word_masking: causal language modelling has no use for it; it is for masked language modelling, pretraining",
        ),
        (
            "nsp",
            "train: {auxiliary_lm_weight: 0.5}",
            "3: train.auxiliary_lm_weight: next sentence prediction has no use for it; it is for classification",
        ),
        ("blimp", "", "1: train: task blimp only measures; state train: null"),
        (
            "cola",
            "evaluate: {prompt: {}}",
            "3: evaluate.prompt: a model is asked by prompt instead of being fine-tuned; state train: null",
        ),
        (
            "regression",
            CSV + "train: null\nevaluate: {prompt: {}}",
            "5: evaluate.prompt: regression has no use for it; it is for classification",
        ),
        (
            "text-classification",
            CSV + "train: null\nevaluate: {prompt: {shots: 1}}",
            "5: evaluate.prompt: task text-classification has no prompt of its own; state template and answers",
        ),
        (
            "cola",
            "train: null\nevaluate: {threshold: f1}",
            "4: evaluate.threshold: it is fitted on dev rows, of which train: null has none",
        ),
        ("cola", "data: {documents: line}", f"3: data.documents: classification has no use for it; it is {LM}"),
        (
            "masked-lm",
            "data: {path: a.csv, documents: line}",
            "3: data.documents: it cuts .txt files; in a table each row is a document",
        ),
        (
            "text-classification",
            "data: {path: a.txt, columns: {text: a, label: b}}",
            "3: data.path: a .txt file holds texts alone, and task text-classification needs more columns; "
            "it takes .csv, .jsonl, .parquet, .tsv",
        ),
        (
            "masked-lm",
            "data: {path: a.csv, columns: {text: a, label: b}}",
            "3: data.columns: label has no place in task masked-lm, which learns from text",
        ),
        (
            "masked-lm",
            "data: {path: a.txt, labels: [a, b]}",
            "3: data.labels: masked language modelling has no use for it; it is for classification, multi-label classification",
        ),
        (
            "nsp",
            "data: {labels: [a, b]}",
            "3: data.labels: next sentence prediction has no use for it; it is for classification, multi-label classification",
        ),
        (
            "multilabel",
            "data: {path: a.csv, columns: {text: a, labels: [b, c]}, labels: {b: x, c: y}}",
            "3: data.labels: a list of names, one a column of data.columns.labels, is expected",
        ),
        (
            "multilabel",
            "data: {path: a.csv, columns: {text: a, labels: [b, c]}, labels: [x, y, z]}",
            "3: data.labels: 3 names, but data.columns.labels has 2",
        ),
        ("cola", "data: {labels: [a, a]}", "3: data.labels: a label stands twice in ['a', 'a']"),
    ],
)
def test_what_an_objective_can_not_do_is_one_line(work: Path, task: str, text: str, expected: str) -> None:
    assert problems(work, task, text) == [expected]


def test_all_that_does_not_fit_comes_at_once(work: Path) -> None:
    text = (
        "data:\n  path: a.csv\n  columns: {text: a, text_pair: b}\n  documents: line\n"
        "train:\n  class_weights: balanced\nevaluate:\n  temperature: true\n  prompt: {}\n"
    )
    found = problems(work, "regression", text)
    assert [problem.split(": ")[:2] for problem in found] == [
        ["5", "data.columns"],
        ["6", "data.documents"],
        ["8", "train.class_weights"],
        ["10", "evaluate.temperature"],
        ["11", "evaluate.prompt"],
    ]


def test_an_empty_text_can_not_be_replaced(work: Path) -> None:
    (found,) = problems(work, "masked-lm", "data: {path: a.txt, replace: {'': x}}\n")
    assert found.startswith("3: data.replace")
