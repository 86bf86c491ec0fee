"""From the seeds of a run to its report: the ensemble, the baselines, the summary, the findings, and the record of them all.

Owns which answers go into which part of a report. The parts are made by the modules that bear their names, shown by `render`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from finetune.answers import Answers, build_answers
from finetune.baselines import BAG_OF_WORDS, MAJORITY, bag_of_words_probabilities, majority_probabilities
from finetune.calibration import build_calibration
from finetune.curves import build_curves
from finetune.data import TaskData, groups_of, name_rows, texts_of
from finetune.decisions import decide, fit_decision, temper
from finetune.findings import Decision, NearDuplicates, RivalTest
from finetune.mistakes import build_confusion, find_label_doubts, find_mistakes, list_confused_pairs
from finetune.near_duplicates import find_near_duplicates
from finetune.records import DataRecord, Provenance, Report, Score, SeedRecord
from finetune.render import render_files
from finetune.report import (
    ENSEMBLE,
    SeedResult,
    describe_collapse,
    judge_bands,
    list_data_warnings,
    predictor_name,
    summarise_seeds,
)
from finetune.resampling import Resampling, choose_resampling
from finetune.rivals import compare_with_rivals
from finetune.run_dir import RunDir, write_record
from finetune.scores import score_rows, score_slices
from finetune.slices import Slices, compare_slices

if TYPE_CHECKING:
    from finetune.recipe import Recipe
    from finetune.task import Task


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the test rows, by one seed or several.

    Attributes:
        data: the rows; its train split is what baselines and near duplicates come from.
        baselines: answers of each baseline.
    """

    recipe: "Recipe"
    task: "Task"
    data: TaskData
    results: Sequence[SeedResult]
    slices: Slices
    baselines: Mapping[str, Answers]

    @property
    def is_of_several_seeds(self) -> bool:
        """Say whether there is an ensemble."""
        return len(self.results) > 1

    @cached_property
    def groups(self) -> list[str] | None:
        """The group of each test row, where rows come in groups."""
        return groups_of(self.data.splits["test"].examples)

    @cached_property
    def resampling(self) -> Resampling:
        """What a resample of the test rows draws."""
        return choose_resampling(self.results[0].answers.expected, self.groups)

    @cached_property
    def decision(self) -> Decision | None:
        """What was fitted on dev for the main answers; for the ensemble its own threshold, on seeds that have their temperatures."""
        first = self.results[0]
        if not self.is_of_several_seeds or first.dev_answers is None:
            return first.decision
        averaged = _average([result.dev_answers for result in self.results if result.dev_answers is not None])
        settings = self.recipe.evaluate.model_copy(update={"temperature": False})
        return fit_decision(averaged.expected, averaged.probabilities, settings, ENSEMBLE)

    @cached_property
    def answers(self) -> Answers:
        """The answers of the only seed, or of the ensemble: the mean probabilities over seeds."""
        if not self.is_of_several_seeds:
            return self.results[0].answers
        averaged = _average([result.answers for result in self.results])
        return decide(averaged.expected, averaged.probabilities, self.decision)

    def list_scores(self) -> list[Score]:
        """Return the scores of the only seed, or those of the ensemble followed by those of each seed."""
        if not self.is_of_several_seeds:
            return list(self.results[0].scores)
        resamples = self.recipe.evaluate.bootstrap
        found = score_slices(
            self.task.metrics, self.answers, self.slices, resamples, predictor=ENSEMBLE, groups=self.groups
        )
        for result in self.results:
            name = predictor_name(result.seed)
            found += [score.model_copy(update={"predictor": name}) for score in result.scores]
        return found

    def score_baselines(self) -> list[Score]:
        """Return the scores of the baselines on all test rows."""
        return [score for name, answers in self.baselines.items() for score in self._score_all(answers, name)]

    def score_undecided(self) -> list[Score]:
        """Return the main answers' scores on all rows without temperature and threshold; none where neither was fitted."""
        if self.decision is None:
            return []
        raw = [
            temper(result.answers.probabilities, 1 / result.decision.temperature)
            if result.decision and result.decision.temperature
            else result.answers.probabilities
            for result in self.results
        ]
        return self._score_all(build_answers(self.answers.expected, np.mean(raw, axis=0)), "without what dev decided")

    def list_decisions(self) -> list[Decision]:
        """Return what was fitted on dev: for the main answers first, then for each of several seeds."""
        by_seed = [
            result.decision.model_copy(update={"predictor": predictor_name(result.seed)})
            for result in self.results
            if result.decision is not None and self.is_of_several_seeds
        ]
        return ([self.decision] if self.decision is not None else []) + by_seed

    def compare_with_rivals(self) -> list[RivalTest]:
        """Return the primary metric against that of each baseline."""
        seeds = [result.answers for result in self.results]
        return compare_with_rivals(self.task.primary_metric, seeds, self.baselines, self.resampling)

    def find_near_duplicates(self) -> NearDuplicates | None:
        """Return the test rows that are nearly train rows."""
        if "train" not in self.data.splits:
            return None
        train, test = (self.data.splits[part].examples for part in ("train", "test"))
        return find_near_duplicates(
            texts_of(train),
            name_rows(train),
            np.asarray(train["label"]),
            texts_of(test),
            name_rows(test),
            self.answers.expected,
            self.answers.predicted,
            self.data.label_names,
        )

    def _score_all(self, answers: Answers, predictor: str) -> list[Score]:
        resamples = self.recipe.evaluate.bootstrap
        return score_rows(self.task.metrics, answers, resamples, predictor=predictor, groups=self.groups)


def _average(answers: Sequence[Answers]) -> Answers:
    """Return answers by the mean probabilities of several models on the same rows."""
    return build_answers(answers[0].expected, np.mean([of_seed.probabilities for of_seed in answers], axis=0))


def answer_by_baselines(data: TaskData) -> dict[str, Answers]:
    """Return the answers of the baselines to the test rows; none where nothing was trained."""
    if "train" not in data.splits:
        return {}
    expected = np.asarray(data.splits["test"].examples["label"], dtype=np.int64)
    train_labels = list(data.splits["train"].examples["label"])
    return {
        MAJORITY: build_answers(expected, majority_probabilities(train_labels, len(expected), len(data.label_names))),
        BAG_OF_WORDS: build_answers(expected, bag_of_words_probabilities(data)),
    }


def assemble_report(
    name: str,
    evaluation: Evaluation,
    record: DataRecord,
    seeds: Sequence[SeedRecord],
    saved: tuple[int, str],
    provenance: Provenance,
) -> Report:
    """Return the report of a run, or of a fitted run on other rows."""
    task, recipe, answers = evaluation.task, evaluation.recipe, evaluation.answers
    test, labels = evaluation.data.splits["test"].examples, evaluation.data.label_names
    rows, texts = name_rows(test), texts_of(test)
    scores = evaluation.list_scores()
    summaries = (
        summarise_seeds(
            evaluation.results,
            evaluation.slices,
            evaluation.resampling,
            recipe.evaluate.bootstrap,
            task.primary_metric,
        )
        if evaluation.is_of_several_seeds
        else []
    )
    expected, predicted, probabilities = answers.expected, answers.predicted, answers.probabilities
    return Report(
        name=name,
        task=task.name,
        title=task.title,
        primary_metric=task.primary_metric,
        seeds=list(seeds),
        collapse=describe_collapse(seeds),
        warnings=list_data_warnings(record, scores, task.primary_metric),
        data=record,
        scores=scores,
        seed_summaries=summaries,
        baselines=evaluation.score_baselines(),
        rival_tests=evaluation.compare_with_rivals(),
        bands=judge_bands(recipe.expect, scores, summaries),
        slice_tests=compare_slices(task.primary_metric, answers, evaluation.slices, evaluation.resampling),
        calibration=build_calibration(expected, probabilities),
        decisions=evaluation.list_decisions(),
        undecided=evaluation.score_undecided(),
        curves=build_curves(answers, labels),
        confusion=build_confusion(expected, predicted, labels),
        confused=list_confused_pairs(rows, texts, expected, predicted, probabilities, labels),
        mistakes=find_mistakes(rows, texts, expected, predicted, probabilities, labels),
        doubts=find_label_doubts(rows, texts, expected, probabilities, labels),
        near_duplicates=evaluation.find_near_duplicates(),
        history=[point for result in evaluation.results for point in result.history],
        saved_seed=saved[0],
        saved_because=saved[1],
        recipe=recipe.model_dump(mode="json"),
        provenance=provenance,
    )


def write_report(report: Report, run_dir: RunDir) -> None:
    """Write report.json and what is rendered from it."""
    write_record(run_dir.report, report)
    render_files(report, run_dir)
