"""Which baselines each objective is held against, and what they answer to the test rows.

Owns that choice. The models behind it are `baselines`, `topic_shortcut` and `language_baselines`; the tests against them are `rivals`.
"""

from typing import TYPE_CHECKING, cast

import numpy as np

from finetune.answers import (
    Answers,
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.baselines import (
    BAG_OF_WORDS,
    MAJORITY,
    bag_of_words_label_sets,
    bag_of_words_numbers,
    bag_of_words_probabilities,
    label_shares,
    majority_probabilities,
)
from finetune.data_checks import read_labels
from finetune.wording import BEFORE_TRAINING, CHANCE

if TYPE_CHECKING:
    from finetune.data import TaskData
    from finetune.language_baselines import LanguageObjective
    from finetune.prepare import SeedJob
    from finetune.records import SplitRecord

TRAIN_MEAN = "train mean"
LABEL_SHARES = "label shares of train"
MOST_FREQUENT = "most frequent label of the test"
TOPIC_SHORTCUT = "topic shortcut (TF-IDF similarity)"
UNIGRAM = "unigram"
WITHOUT_READING = frozenset({MAJORITY, MOST_FREQUENT, CHANCE, TRAIN_MEAN, LABEL_SHARES})
"""Those that say the same of every row."""


def answer_by_baselines(job: "SeedJob", answers: AnyAnswers, start: AnyAnswers | None = None) -> dict[str, AnyAnswers]:
    """Return the answers of the baselines to the test rows, which the model gave `answers`; none that nothing is known for.

    `start` are the answers of the model before training.
    """
    found = {} if start is None else {BEFORE_TRAINING: start}
    if isinstance(answers, LanguageAnswers):
        return found | _answer_by_unigrams(job)
    if "train" in job.data.splits:
        return found | _answer_by_train(job.data, answers, asks_next_sentence=job.task.objective == "next_sentence")
    if job.task.objective == "minimal_pairs":
        return found | {CHANCE: _answer_by_shares(answers, np.full(len(job.data.label_names), 0.5))}
    if job.recipe.evaluate.prompt is not None and isinstance(answers, Answers):
        shares = np.bincount(answers.expected, minlength=answers.classes) / len(answers)
        return found | {MOST_FREQUENT: _answer_by_shares(answers, shares)}
    return found


def _answer_by_shares(answers: AnyAnswers, shares: np.ndarray) -> AnyAnswers:
    """Return the constant answer of these probabilities (labels,) to rows with these expected labels."""
    assert isinstance(answers, Answers | MultilabelAnswers)
    probabilities = np.tile(shares, (len(answers), 1))
    build = build_answers if isinstance(answers, Answers) else build_multilabel_answers
    return build(answers.expected, probabilities)


def _answer_by_train(data: "TaskData", answers: AnyAnswers, *, asks_next_sentence: bool) -> dict[str, AnyAnswers]:
    train_labels = read_labels(data.splits["train"].examples)
    assert train_labels is not None
    if isinstance(answers, RegressionAnswers):
        mean = np.full(len(answers), np.mean(train_labels))
        return {
            TRAIN_MEAN: build_regression_answers(answers.expected, mean),
            BAG_OF_WORDS: build_regression_answers(answers.expected, bag_of_words_numbers(data)),
        }
    if isinstance(answers, MultilabelAnswers):
        return {
            LABEL_SHARES: _answer_by_shares(answers, label_shares(train_labels)),
            BAG_OF_WORDS: build_multilabel_answers(answers.expected, bag_of_words_label_sets(data)),
        }
    assert isinstance(answers, Answers)
    expected = answers.expected
    found: dict[str, AnyAnswers] = {
        MAJORITY: build_answers(expected, majority_probabilities(train_labels, len(expected), len(data.label_names))),
        BAG_OF_WORDS: build_answers(expected, bag_of_words_probabilities(data)),
    }
    if asks_next_sentence:
        from finetune.topic_shortcut import topic_shortcut_probabilities

        found[TOPIC_SHORTCUT] = build_answers(expected, topic_shortcut_probabilities(data))
    return found


def _answer_by_unigrams(job: "SeedJob") -> dict[str, AnyAnswers]:
    if "train" not in job.features:
        return {}
    from finetune.language_baselines import unigram_answers

    objective = cast("LanguageObjective", job.objective)
    vocabulary = int(job.start.config.vocab_size)
    return {UNIGRAM: unigram_answers(objective, job.features["train"], job.features["test"], vocabulary)}


def answer_by_recorded_train(train: "SplitRecord | None", answers: AnyAnswers) -> dict[str, AnyAnswers]:
    """Return the best constant answer to rows with these expected labels, by what is on record of train; none where nothing is."""
    if train is None:
        return {}
    if isinstance(answers, RegressionAnswers) and train.mean is not None:
        return {TRAIN_MEAN: build_regression_answers(answers.expected, np.full(len(answers), train.mean))}
    if isinstance(answers, Answers | MultilabelAnswers):
        shares = np.array(list(train.labels.values())) / train.rows
        return {MAJORITY if isinstance(answers, Answers) else LABEL_SHARES: _answer_by_shares(answers, shares)}
    return {}
