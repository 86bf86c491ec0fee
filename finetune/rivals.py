"""The model against the baselines, row by row: better, or noise.

Owns the tests against baselines. What the baselines answer is `baselines`; two runs are compared by `compare`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from finetune.answers import AnyAnswers
from finetune.enough_rows import too_few_rows
from finetune.findings import RivalTest
from finetune.metrics import score
from finetune.paired_tests import bootstrap_p_value, compare_seeds
from finetune.resampling import Resampling, bootstrap_values
from finetune.statistics import percentile_interval, variance_over_rows

RESAMPLES: Final = 10_000
BY_BOOTSTRAP: Final = "paired bootstrap over rows"
BY_SEEDS: Final = "seeds and rows as sources of variance"


def compare_with_rivals(
    metric: str, seeds: Sequence[AnyAnswers], baselines: Mapping[str, AnyAnswers], resampling: Resampling
) -> list[RivalTest]:
    """Return for each baseline the difference of a metric, model minus baseline, with interval and p-value.

    `seeds` are the answers of each seed; of several the mean is compared.
    """
    return [_compare(metric, seeds, name, answers, resampling) for name, answers in baselines.items()]


def _compare(
    metric: str, seeds: Sequence[AnyAnswers], name: str, baseline: AnyAnswers, resampling: Resampling
) -> RivalTest:
    values = [score(metric, answers).value for answers in seeds]
    defined = [value for value in values if value is not None]
    rival = score(metric, baseline).value
    if rival is None or len(defined) < len(values) or too_few_rows(metric, seeds[0], resampling):
        return RivalTest(predictor=name, difference=None, low=None, high=None, p_value=None, basis="undefined")
    difference = float(np.mean(defined)) - rival
    drawn = bootstrap_values([metric], [*seeds, baseline], resampling, RESAMPLES)[metric]
    differences = drawn[:-1].mean(axis=0) - drawn[-1]
    interval = percentile_interval(differences)
    if interval.low is None:
        return RivalTest(predictor=name, difference=None, low=None, high=None, p_value=None, basis="undefined")
    if len(seeds) > 1:
        over = compare_seeds([rival], defined, variance_over_rows(drawn[:-1], resampling.units, drawn[-1:]))
        low, high, p_value, basis = over.low, over.high, over.p_value, BY_SEEDS
    else:
        # Not randomisation: against a constant answer, swapping makes both sides noisier than either is, and finds too little.
        low, high, basis = interval.low, interval.high, BY_BOOTSTRAP
        p_value = bootstrap_p_value(difference, differences)
    return RivalTest(predictor=name, difference=difference, low=low, high=high, p_value=p_value, basis=basis)
