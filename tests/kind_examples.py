"""Reports on answers that are no classes, as real runs leave them: numbers, sets of labels, likelihoods of text.

Owns made-up answers of plausible quality; what a report holds of them is computed as for a run.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from finetune.answers import (
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
    build_language_answers,
    build_multilabel_answers,
    build_regression_answers,
)
from finetune.error_findings import find_hard_documents, find_label_errors, find_number_errors
from finetune.findings import NearDuplicate, NearDuplicates
from finetune.records import Ancestor, DataRecord, Report, SeedRecord, SeedSummaryRecord
from finetune.resampling import choose_resampling
from finetune.rivals import compare_with_rivals
from finetune.scores import score_rows, score_slices
from finetune.statistics import summary
from tests.report_examples import EXAMPLES, build_data, build_history, build_provenance, single_seed

PHENOMENA = ("Simple", "Question", "Binding", "Comp Clause", "to-VP", "Violations")
NUMBER_METRICS = ("pearson", "spearman", "mean_squared_error", "mean_absolute_error")
LABEL_METRICS = ("macro_f1", "micro_f1", "subset_accuracy", "hamming_loss", "roc_auc", "pr_auc")
LANGUAGE_METRICS = ("token_loss", "perplexity", "token_accuracy")
RESAMPLES = 200


def make_numbers(rows: int = 700, seed: int = 0, noise: float = 0.5) -> RegressionAnswers:
    """Return numbers from 1 to 5 with errors of a normal distribution."""
    expected = np.round(np.random.default_rng(99).uniform(1, 5, rows), 1)
    return build_regression_answers(expected, expected + np.random.default_rng(seed).normal(0, noise, rows))


def make_label_sets(rows: int = 300, seed: int = 0, signal: float = 2.0) -> MultilabelAnswers:
    """Return sets of six labels, some of them rare."""
    expected = np.random.default_rng(99).random((rows, len(PHENOMENA))) < np.linspace(0.5, 0.02, len(PHENOMENA))
    logits = np.random.default_rng(seed).normal(-1, 1, expected.shape) + signal * expected
    return build_multilabel_answers(expected, 1 / (1 + np.exp(-logits)))


def make_likelihoods(
    rows: int = 200, seed: int = 0, loss: float = 2.4, *, is_causal: bool = False, with_pairs: bool = False
) -> LanguageAnswers:
    """Return the likelihoods of texts of 5 to 80 predicted tokens."""
    tokens = np.random.default_rng(99).integers(5, 80, rows)
    generator = np.random.default_rng(seed)
    losses = tokens * np.maximum(0.05, generator.normal(loss, 0.4, rows))
    right = generator.binomial(tokens, min(0.9, np.exp(-loss / 3)))
    follows = None
    if with_pairs:
        expected = np.arange(rows) % 2
        sure = np.where(generator.random(rows) < 0.8, expected, 1 - expected)
        follows = build_answers(expected, np.where(np.eye(2)[sure] > 0, 0.9, 0.1))
    return build_language_answers(losses, tokens, right, 4 * tokens if is_causal else 0 * tokens, follows)


def name_rows(rows: int) -> list[str]:
    """Return row ids."""
    return [f"test/{number}" for number in range(rows)]


def write_texts(rows: int) -> list[tuple[str, ...]]:
    """Return a text for each row, some of them long."""
    return [
        (f"Reason, in number {number}, is called upon to consider questions. " * (1 + number % 9),)
        for number in range(rows)
    ]


def describe_data(rows: int, labels: Sequence[str] = (), **changes: Any) -> DataRecord:
    """Return the record of rows whose test has so many."""
    data = build_data(("a", "b"))
    splits = [
        split.model_copy(
            update={
                "rows": rows * (8 if split.part == "train" else 1),
                "labels": {name: rows // (2 + number) for number, name in enumerate(labels)},
                "contradictions": None,
                **changes,
            }
        )
        for split in data.splits
    ]
    return data.model_copy(update={"labels": list(labels), "splits": splits, "shared_with_train": [], "notes": []})


def build_report(
    metrics: Sequence[str], answers: AnyAnswers, baselines: dict[str, AnyAnswers], **changes: Any
) -> Report:
    """Return the report of a run of one seed with these answers, on two slices."""
    slices = {"short": np.arange(len(answers) // 2), "long": np.arange(len(answers) // 2, len(answers))}
    scores = score_slices(metrics, answers, slices, RESAMPLES)
    rivals = [
        score for name, said in baselines.items() for score in score_rows(metrics, said, RESAMPLES, predictor=name)
    ]
    return single_seed(
        **{
            "primary_metric": metrics[0],
            "scores": scores,
            "baselines": rivals,
            "rival_tests": compare_with_rivals(metrics[0], [answers], baselines, choose_resampling(answers.strata)),
            "seeds": [
                SeedRecord(
                    seed=1,
                    score=scores[0].value,
                    dev_score=None,
                    collapsed_to=None,
                    train_seconds=391.2,
                    final_loss=0.4,
                )
            ],
            "warnings": [],
            "bands": [],
            "slice_tests": [],
            "calibration": None,
            "decisions": [],
            "undecided": [],
            "curves": None,
            "confusion": None,
            "confused": [],
            "mistakes": [],
            "doubts": None,
            "near_duplicates": None,
            **changes,
        }
    )


def numbers(**changes: Any) -> Report:
    """Return a run of regression."""
    answers = make_numbers()
    constant = build_regression_answers(answers.expected, np.full(len(answers), 3.02))
    return build_report(
        NUMBER_METRICS,
        answers,
        {"train mean": constant, "bag of words": make_numbers(seed=3, noise=1.1)},
        **{
            "name": "sick-relatedness-minilm",
            "task": "sick-relatedness",
            "title": "How alike two sentences are (SICK)",
            "objective": "regression",
            "data": describe_data(len(answers), lowest=1.0, mean=3.02, highest=5.0),
            "regression": find_number_errors(name_rows(len(answers)), write_texts(len(answers)), answers),
            **changes,
        },
    )


def label_sets() -> Report:
    """Return a run of several labels."""
    answers = make_label_sets()
    constant = build_multilabel_answers(answers.expected, np.tile(answers.expected.mean(axis=0), (len(answers), 1)))
    return build_report(
        LABEL_METRICS,
        answers,
        {"label shares of train": constant, "bag of words": make_label_sets(seed=3, signal=0.7)},
        name="cola-phenomena-minilm",
        task="cola-phenomena",
        title="Phenomena of CoLA's sentences",
        objective="multilabel",
        data=describe_data(len(answers), PHENOMENA),
        multilabel=find_label_errors(name_rows(len(answers)), write_texts(len(answers)), answers, PHENOMENA, RESAMPLES),
    )


def masked_text(*, with_pairs: bool = False, **changes: Any) -> Report:
    """Return a run of masked language modelling, which began as another run."""
    answers = make_likelihoods(with_pairs=with_pairs)
    metrics = (*LANGUAGE_METRICS, *(("next_sentence_accuracy", "next_sentence_loss") if with_pairs else ()))
    rivals: dict[str, AnyAnswers] = {
        "before training": make_likelihoods(seed=3, loss=9.2, with_pairs=with_pairs),
        "unigram": make_likelihoods(seed=4, loss=6.1),
    }
    return build_report(
        metrics,
        answers,
        rivals,
        **{
            "name": "mlm-minilm",
            "task": "imdb-mlm",
            "title": "Masked words of film reviews",
            "objective": "masked_lm",
            "model_class": "AutoModelForMaskedLM",
            "data": describe_data(len(answers)),
            "language": find_hard_documents(name_rows(len(answers)), write_texts(len(answers)), answers, 128, 0.15),
            "near_duplicates": NearDuplicates(
                measure="shared pieces of four characters, at least 0.80",
                looked_at=200,
                count=2,
                correct=None,
                rows=["test/5", "test/9"],
                examples=[
                    NearDuplicate(
                        row="test/5",
                        text="The same passage, once more.",
                        expected="",
                        train_row="train/3",
                        train_text="The same passage once more",
                        train_label="",
                        similarity=0.91,
                    )
                ],
            ),
            "provenance": build_provenance(
                lineage=[
                    Ancestor(
                        run="kantaibert-small/20250304-050607",
                        task="kant-mlm",
                        checkpoint="roberta from scratch",
                        checkpoint_sha256="",
                        metric="perplexity",
                        score=61.3,
                        n=500,
                    )
                ]
            ),
            **changes,
        },
    )


def pretrained() -> Report:
    """Return a run of BERT's two losses together."""
    return masked_text(
        with_pairs=True,
        name="bert-pretrain-minilm",
        task="wikitext2-pretraining",
        title="Masked words and next sentences (WikiText-2)",
        objective="pretraining",
        model_class="AutoModelForPreTraining",
        near_duplicates=None,
    )


def causal_text_of_seeds() -> Report:
    """Return a run of causal language modelling with three seeds, of which the saved one stands for all."""
    metrics = ("token_loss", "perplexity", "token_accuracy", "bits_per_byte")
    by_seed = {seed: make_likelihoods(seed=seed, is_causal=True) for seed in (1, 2, 3)}
    scores = [
        score for seed in (2, 1, 3) for score in score_rows(metrics, by_seed[seed], RESAMPLES, predictor=f"seed {seed}")
    ]
    values = [[score.value or 0.0 for score in scores if score.name == name] for name in metrics]
    summaries = [
        SeedSummaryRecord(name=name, slice="all", values=some, **asdict(summary(some)))
        for name, some in zip(metrics, values, strict=True)
    ]
    return build_report(
        metrics,
        by_seed[2],
        {"before training": make_likelihoods(seed=9, loss=7.7, is_causal=True)},
        name="gpt2-kant",
        task="kant-clm",
        title="Going on as Kant would",
        objective="causal_lm",
        model_class="AutoModelForCausalLM",
        data=describe_data(200),
        scores=scores,
        seed_summaries=summaries,
        seeds=[
            SeedRecord(
                seed=seed, score=values[0][0], dev_score=2.4, collapsed_to=None, train_seconds=60.0, final_loss=2.31
            )
            for seed in (1, 2, 3)
        ],
        saved_seed=2,
        saved_because="the best of 3 by token_loss on dev",
        history=[point for seed in (1, 2, 3) for point in build_history(seed, dev=True)],
        language=find_hard_documents(name_rows(200), write_texts(200), by_seed[2], 1024, None),
    )


def collapsed_numbers() -> Report:
    """Return a run of regression that says 3.4 of every row."""
    answers = build_regression_answers(make_numbers().expected, np.full(700, 3.4))
    return numbers(
        scores=score_rows(NUMBER_METRICS, answers, RESAMPLES),
        collapse="COLLAPSED: the model predicts 3.4 for every test row; it has learnt nothing that tells rows apart.",
        seeds=[SeedRecord(seed=1, score=None, dev_score=None, collapsed_to="3.4", train_seconds=1.0, final_loss=1.2)],
        regression=find_number_errors(name_rows(700), write_texts(700), answers),
    )


KIND_EXAMPLES = {
    "numbers": numbers,
    "label_sets": label_sets,
    "masked_text": masked_text,
    "pretrained": pretrained,
    "causal_text_of_seeds": causal_text_of_seeds,
    "collapsed_numbers": collapsed_numbers,
}
ALL_EXAMPLES = {**EXAMPLES, **KIND_EXAMPLES}
