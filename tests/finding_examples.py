"""Findings as real evaluations leave them: slices, calibration, decisions, curves, wrong answers.

Owns made-up figures of plausible size; `report_examples` puts them into reports.
"""

import math
from collections.abc import Sequence

from scipy.stats import binomtest, norm

from finetune.findings import (
    Calibration,
    ConfusedPair,
    CurvePoint,
    Curves,
    Decision,
    LabelDoubt,
    LabelDoubts,
    Mistake,
    NearDuplicate,
    NearDuplicates,
    ReliabilityBin,
    SliceTest,
)

SOURCES = "ad03 b_73 b_82 bc01 c_13 cj99 clc95 gj04 kl93 ks08 l-93 m_02 r-67 rhl07 sks13".split()
PHENOMENA = (
    "Simple,Pred,Adjunct,Arg Types,Arg Altern,Imper,Binding,Question,Comp Clause,Auxiliary,to-VP,N & Adj,S-Syntax,Determiner,"
    "Violations,Aux-NPI,Ellipsis,Fragments,Coordination,Extraposition,Clefts,Resultatives,Passives"
).split(",")
TOKENS = "2 to 6,7 to 7,8 to 8,9 to 9,10 to 10,11 to 11,12 to 13,14 to 15,16 to 19,20 to 47".split(",")
SLICES = (
    "in-domain",
    "out-of-domain",
    *(f"source: {name}" for name in SOURCES),
    *(f"phenomenon: {name}" for name in PHENOMENA),
    *(f"tokens: {name}" for name in TOKENS),
)
"""Fifty names."""
FLAGGED = {"in-domain": (0.121, 0.0001), "phenomenon: Violations": (-0.204, 0.0003)}
METHOD = (
    "confident learning (Northcutt, Jiang and Chuang 2021): the model gives another label at least the mean probability that this "
    "label has on its own rows, and more than it gives the row's label"
)
MEASURE = "Jaccard likeness of the sets of letter trigrams of at least 0.7"


def count_rows(number: int) -> int:
    """Return how many rows the slice of that number in `SLICES` has; one of them is too small to be scored."""
    if number < 2:
        return (527, 516)[number]
    return 7 if number == 6 else 31 + (number * 37) % 160


def build_slice_tests() -> list[SliceTest]:
    """Return the tests of `SLICES`: two of them flagged, one without a value."""
    found = []
    for number, name in enumerate(SLICES):
        n = count_rows(number)
        difference, p = FLAGGED.get(name, (0.11 * math.sin(number), 0.04 + 0.9 * abs(math.cos(number))))
        has_value = n >= 10
        found.append(
            SliceTest(
                slice=name,
                n=n,
                rest_n=1043 - n,
                difference=difference if has_value else None,
                p_value=p if has_value else None,
                p_adjusted=min(1.0, 49 * p) if has_value else None,
                is_flagged=name in FLAGGED,
                reason="" if has_value else "fewer than 10 rows",
            )
        )
    return found


def build_calibration() -> Calibration:
    """Return the reliability of a somewhat overconfident model."""
    bins = []
    for low, n, confidence, right in (
        (0.5, 118, 0.5521, 66),
        (0.6, 214, 0.6537, 134),
        (0.7, 347, 0.7502, 251),
        (0.8, 288, 0.8448, 232),
        (0.9, 76, 0.9246, 64),
    ):
        interval = binomtest(right, n).proportion_ci(method="wilson")
        bins.append(
            ReliabilityBin(
                low=low,
                high=low + 0.1,
                n=n,
                confidence=confidence,
                accuracy=right / n,
                accuracy_low=interval.low,
                accuracy_high=interval.high,
            )
        )
    error = sum(entry.n * abs(entry.confidence - entry.accuracy) for entry in bins) / 1043
    return Calibration(
        binning="10 bins of equal width by the probability of the most probable label", error=error, bins=bins
    )


def build_curves(positive: str = "acceptable", points: int = 200, apart: float = 0.69) -> Curves:
    """Return the curves of two normal distributions of logits, `apart` in deviations."""
    prevalence, roc, precision_recall = 0.6894, [], []
    for number in range(points):
        cut = 3.5 - 7 * number / (points - 1)
        threshold = 1 / (1 + math.exp(-cut - 0.8))
        true_rate, false_rate = float(norm.sf(cut - apart)), float(norm.sf(cut))
        found = prevalence * true_rate
        roc.append(CurvePoint(x=false_rate, y=true_rate, threshold=threshold))
        precision_recall.append(
            CurvePoint(x=true_rate, y=found / (found + (1 - prevalence) * false_rate), threshold=threshold)
        )
    return Curves(positive=positive, prevalence=prevalence, roc=roc, precision_recall=precision_recall)


def build_decisions(predictors: Sequence[str] = ("model",)) -> list[Decision]:
    """Return a temperature and a threshold for each predictor."""
    return [
        Decision(
            predictor=name,
            temperature=1.3127 + 0.04 * number,
            threshold=0.58 - 0.01 * number,
            chosen_for="the highest Matthews correlation",
            dev_rows=855,
        )
        for number, name in enumerate(predictors)
    ]


def build_confused(mistakes: Sequence[Mistake], counts: tuple[int, int] = (235, 61)) -> list[ConfusedPair]:
    """Return both directions of a confusion of two labels, with those of the mistakes that belong to each."""
    return [
        ConfusedPair(
            expected=expected,
            predicted=predicted,
            count=count,
            examples=[mistake for mistake in mistakes if mistake.expected == expected],
        )
        for expected, predicted, count in (
            ("unacceptable", "acceptable", counts[0]),
            ("acceptable", "unacceptable", counts[1]),
        )
        if count
    ]


def build_doubts() -> LabelDoubts:
    """Return two of nine doubted labels."""
    rows = [
        ("test/412", "The more does Bill smoke, the more Susan hates him.", "unacceptable", "acceptable", 0.9631),
        ("test/18", "Anson became happy.", "acceptable", "unacceptable", 0.8713),
    ]
    return LabelDoubts(
        method=METHOD,
        count=9,
        rows=[
            LabelDoubt(
                row=row,
                text=text,
                label=label,
                suggested=suggested,
                probability_of_label=1 - probability,
                probability_of_suggested=probability,
            )
            for row, text, label, suggested, probability in rows
        ],
    )


def build_near_duplicates() -> NearDuplicates:
    """Return two of 37 rows that are nearly a train row."""
    examples = [
        (
            "test/310",
            "John heard that they criticized themselves.",
            "train/2201",
            "John heard they criticized themselves.",
            0.8667,
        ),
        ("test/55", "The box contained the ball from the tree.", "train/1480", "The box contained the ball.", 0.7143),
    ]
    return NearDuplicates(
        measure=MEASURE,
        looked_at=1043,
        count=37,
        correct=31,
        rows=[f"test/{28 * number}" for number in range(37)],
        examples=[
            NearDuplicate(
                row=row,
                text=text,
                expected="acceptable",
                train_row=train_row,
                train_text=train_text,
                train_label="acceptable",
                similarity=similarity,
            )
            for row, text, train_row, train_text, similarity in examples
        ],
    )
