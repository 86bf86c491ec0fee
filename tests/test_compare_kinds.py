"""Comparisons of runs whose answers are no classes, and of runs that weren't trained."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from datasets import Dataset

from finetune.answers import AnyAnswers, build_language_answers, build_regression_answers
from finetune.comparison_records import Comparison
from finetune.data import TaskData
from finetune.errors import DataError
from finetune.predictions import build_predictions
from finetune.record_files import write_lines, write_record
from finetune.records import Report
from finetune.render_comparison import render_html, render_markdown
from finetune.run_dir import RunDir
from tests.comparison_examples import compare_quickly, write_pair, write_run
from tests.kind_examples import (
    PHENOMENA,
    causal_text_of_seeds,
    label_sets,
    make_label_sets,
    make_likelihoods,
    make_numbers,
    masked_text,
    name_rows,
    numbers,
)
from tests.report_examples import build_scores


def write_answers(path: Path, report: Report, answers: AnyAnswers) -> Path:
    """Write the folder of a finished run of one seed with these answers."""
    path.mkdir(parents=True)
    names = tuple(report.data.labels)
    splits = {"test": SimpleNamespace(examples=Dataset.from_dict({"row": name_rows(len(answers))}))}
    data = cast("TaskData", SimpleNamespace(splits=splits, label_names=names))
    write_lines(RunDir(path).predictions, build_predictions(data, "test", answers))
    test = report.data.splits[1].model_copy(update={"rows": len(answers), "fingerprint": "ab" * 32})
    record = report.data.model_copy(update={"splits": [report.data.splits[0], test]})
    changes: dict[str, Any] = {"name": path.name, "data": record}
    write_record(RunDir(path).report, report.model_copy(update=changes))
    return path


def compare_two(folder: Path, report: Report, first: AnyAnswers, second: AnyAnswers) -> Comparison:
    return compare_quickly([write_answers(folder / "a", report, first), write_answers(folder / "b", report, second)])


def test_of_numbers_the_run_with_smaller_errors_is_better_and_rows_are_shown_by_their_errors(tmp_path: Path) -> None:
    found = compare_two(tmp_path, numbers(), make_numbers(200, 1, noise=1.5), make_numbers(200, 2, noise=0.4))
    pair = found.pairs[0]
    assert pair.better == "second"
    assert (pair.mcnemar, pair.agreement, pair.differing, pair.examples) == (None, None, None, [])
    assert pair.gap_of == "absolute error"
    gaps = [abs(row.gap) for row in pair.gaps]
    assert len(gaps) == 20 and gaps == sorted(gaps, reverse=True)
    assert "McNemar" not in render_markdown(found)
    assert "Rows on which the two are farthest apart, by absolute error" in render_html(found)


def test_an_error_is_better_where_it_is_smaller(tmp_path: Path) -> None:
    paths = [
        write_answers(tmp_path / name, numbers(), make_numbers(200, seed, noise=noise))
        for name, seed, noise in (("a", 1, 0.4), ("b", 2, 1.5))
    ]
    found = compare_quickly(paths, metric="mean_squared_error").pairs[0]
    assert found.better == "first"
    assert found.differences[0].difference is not None and found.differences[0].difference > 0


def test_sets_of_labels_are_compared_whatever_the_order_of_labels(tmp_path: Path) -> None:
    answers, report = make_label_sets(200), label_sets()
    turned = type(answers)(answers.expected[:, ::-1], answers.predicted[:, ::-1], answers.probabilities[:, ::-1])
    data = report.data.model_copy(update={"labels": list(PHENOMENA[::-1])})
    paths = [
        write_answers(tmp_path / "a", report, answers),
        write_answers(tmp_path / "b", report.model_copy(update={"data": data}), turned),
    ]
    pair = compare_quickly(paths).pairs[0]
    assert pair.differences[0].difference == 0
    assert pair.gaps == []


def test_likelihoods_of_the_same_tokens_are_compared_by_every_metric(tmp_path: Path) -> None:
    found = compare_two(tmp_path, masked_text(), make_likelihoods(seed=1, loss=2.9), make_likelihoods(seed=2))
    assert found.pairs[0].better == "second"
    assert [score.name for score in found.runs[0].scores] == ["token_loss", "perplexity", "token_accuracy"]
    assert found.pairs[0].gap_of == "loss per token"


def cut_otherwise(rows: int = 200) -> AnyAnswers:
    """Return the likelihoods of a tokenizer that cuts the same bytes in twice as many tokens."""
    other = make_likelihoods(rows, seed=5, loss=2.0, is_causal=True)
    return build_language_answers(other.losses, 2 * other.tokens, other.right, other.text_bytes)


def test_other_tokens_leave_bits_per_byte_alone_to_compare(tmp_path: Path) -> None:
    report = causal_text_of_seeds()
    single = report.model_copy(update={"seeds": report.seeds[:1], "saved_seed": 1, "seed_summaries": []})
    found = compare_two(tmp_path, single, make_likelihoods(seed=1, is_causal=True), cut_otherwise())
    assert [score.name for score in found.runs[0].scores] == ["bits_per_byte"]
    assert found.pairs[0].gap_of == "bits per byte"
    assert any("the verdicts speak of" in warning for warning in found.warnings)


def test_masked_tokens_that_differ_cannot_be_compared(tmp_path: Path) -> None:
    other = build_language_answers([3.0] * 200, [2] * 200, [1] * 200, [0] * 200)
    with pytest.raises(DataError, match="predict other tokens of the same rows"):
        compare_two(tmp_path, masked_text(), make_likelihoods(), other)


def test_different_kinds_of_answers_are_refused_in_one_line(tmp_path: Path) -> None:
    paths = [
        write_answers(tmp_path / "a", numbers(), make_numbers(200)),
        write_answers(tmp_path / "b", masked_text(), make_likelihoods()),
    ]
    with pytest.raises(DataError, match=r"numbers\) and .* likelihoods of text\) give different kinds of answers"):
        compare_quickly(paths)


def test_numbers_that_were_changed_in_a_file_are_refused(tmp_path: Path) -> None:
    answers = make_numbers(200)
    changed = build_regression_answers(np.where(np.arange(200) == 7, 9.0, answers.expected), answers.predicted)
    with pytest.raises(DataError, match="first in compared row 7"):
        compare_two(tmp_path, numbers(), answers, changed)


def test_a_run_that_was_only_asked_stands_beside_a_trained_one_with_what_guessing_gives(tmp_path: Path) -> None:
    expected = np.arange(120) % 2
    sure = np.where(np.eye(2)[expected] > 0, 0.8, 0.2)
    recipe = {"task": "cola", "train": None, "evaluate": {"prompt": {}}}
    guess = [score.model_copy(update={"n": 120}) for score in build_scores("most frequent label of the test", column=1)]
    paths = [
        write_run(tmp_path / "trained", expected, [sure]),
        write_run(tmp_path / "asked", expected, [1 - sure], recipe=recipe, baselines=guess),
    ]
    found = compare_quickly(paths)
    assert {score.predictor for score in found.baselines} == {"most frequent label of the test"}
    assert "most frequent label of the test" in render_markdown(found)
    assert compare_quickly(write_pair(tmp_path, 120)).baselines == []
