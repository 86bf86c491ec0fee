"""Whether a model says the same of every row, and what is then said of it first.

Owns what counts as a collapse for each kind of answers. Likelihoods of text have none: they differ from row to row anyway.
"""

from collections.abc import Sequence

import numpy as np

from finetune.answers import Answers, AnyAnswers, MultilabelAnswers, RegressionAnswers
from finetune.records import SeedRecord
from finetune.wording import list_words

NEARLY_EQUAL = 1e-3
"""Share of the spread of the expected numbers within which predicted ones are all the same."""
NO_LABEL = "no label"


def find_collapse(answers: AnyAnswers, label_names: Sequence[str]) -> str | None:
    """Return the one thing said of every row, in words; None where rows are told apart, or the data has only one kind of them."""
    if isinstance(answers, Answers):
        predicted = np.unique(answers.predicted)
        is_collapsed = len(predicted) == 1 and len(np.unique(answers.expected)) > 1
        return label_names[int(predicted[0])] if is_collapsed else None
    if isinstance(answers, RegressionAnswers):
        spread = np.ptp(answers.expected) if len(answers) else 0.0
        is_collapsed = spread > 0 and np.ptp(answers.predicted) <= NEARLY_EQUAL * spread
        return f"{np.median(answers.predicted):.3g}" if is_collapsed else None
    if isinstance(answers, MultilabelAnswers):
        is_varied = len(answers) > 0 and bool((answers.expected != answers.expected[0]).any())
        is_collapsed = is_varied and bool((answers.predicted == answers.predicted[0]).all())
        return (
            list_words([label_names[label] for label in np.flatnonzero(answers.predicted[0])] or [NO_LABEL])
            if is_collapsed
            else None
        )
    return None


def describe_collapse(seeds: Sequence[SeedRecord], answers: AnyAnswers) -> str:
    """Return the gravest thing to say of a run, that it says the same of every row; empty where it doesn't."""
    collapsed = [seed for seed in seeds if seed.collapsed_to is not None]
    if not collapsed:
        return ""
    has_classes = isinstance(answers, Answers)
    if len(seeds) == 1:
        said = collapsed[0].collapsed_to
        if has_classes:
            what = f"gives every test row the label '{said}'"
        elif isinstance(answers, MultilabelAnswers):
            what = f"gives every test row {'no label' if said == NO_LABEL else f'the same labels: {said}'}"
        else:
            what = f"predicts {said} for every test row"
        return f"COLLAPSED: the model {what}; it has learnt nothing that tells rows apart."
    quote = "'" if has_classes else ""
    named = ", ".join(f"seed {seed.seed} (always {quote}{seed.collapsed_to}{quote})" for seed in collapsed)
    what = "predict one class only" if has_classes else "say the same of every row"
    return f"COLLAPSED: {len(collapsed)} of {len(seeds)} seeds {what}: {named}. They are part of every mean below."
