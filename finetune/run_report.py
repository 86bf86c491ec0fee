"""From the seeds of a run to its report: the ensemble, the baselines, the summary, the findings, and the record of them all.

Owns which answers go into which part of a report. The parts are made by the modules that bear their names, shown by `render`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from finetune.answers import (
    Answers,
    AnyAnswers,
    LanguageAnswers,
    MultilabelAnswers,
    RegressionAnswers,
    build_answers,
)
from finetune.calibration import build_calibration
from finetune.collapse import describe_collapse
from finetune.curves import build_curves
from finetune.data import TaskData, groups_of, name_rows, texts_of
from finetune.data_checks import label_texts
from finetune.decisions import decide, fit_decision, temper
from finetune.ensembles import average_answers
from finetune.error_findings import find_hard_documents, find_label_errors, find_number_errors
from finetune.findings import Decision, NearDuplicates, RivalTest
from finetune.mistakes import build_confusion, find_label_doubts, find_mistakes, list_confused_pairs
from finetune.near_duplicates import find_near_duplicates
from finetune.record_files import write_record
from finetune.records import DataRecord, Provenance, Report, Score, SeedRecord
from finetune.render import render_files
from finetune.report import (
    ENSEMBLE,
    SeedResult,
    judge_bands,
    list_data_warnings,
    predictor_name,
    summarise_seeds,
)
from finetune.resampling import Resampling, choose_resampling
from finetune.rivals import compare_with_rivals
from finetune.run_dir import RunDir
from finetune.scores import score_rows, score_slices
from finetune.slices import Slices, compare_slices

if TYPE_CHECKING:
    from finetune.objective import Objective
    from finetune.recipe import Recipe
    from finetune.task import Task


@dataclass(frozen=True)
class Evaluation:
    """What was measured on the test rows, by one seed or several.

    Attributes:
        data: the rows; its train split is what near duplicates come from.
        saved_seed: the seed whose answers stand for all where they can't be averaged.
        baselines: answers of each baseline.
    """

    recipe: "Recipe"
    task: "Task"
    data: TaskData
    objective: "Objective"
    results: Sequence[SeedResult]
    saved_seed: int
    slices: Slices
    baselines: Mapping[str, AnyAnswers]

    @property
    def is_of_several_seeds(self) -> bool:
        """Say whether there is more than one."""
        return len(self.results) > 1

    @cached_property
    def groups(self) -> list[str] | None:
        """The group of each test row, where rows come in groups."""
        return groups_of(self.data.splits["test"].examples)

    @cached_property
    def resampling(self) -> Resampling:
        """What a resample of the test rows draws."""
        return choose_resampling(self.results[0].answers.strata, self.groups)

    @cached_property
    def decision(self) -> Decision | None:
        """What was fitted on dev for the main answers; for the ensemble its own threshold, on seeds that have their temperatures."""
        first = self.results[0]
        if not self.is_of_several_seeds or first.dev_answers is None:
            return first.decision
        averaged = average_answers([result.dev_answers for result in self.results if result.dev_answers is not None])
        assert isinstance(averaged, Answers)
        settings = self.recipe.evaluate.model_copy(update={"temperature": False})
        return fit_decision(averaged.expected, averaged.probabilities, settings, ENSEMBLE)

    @cached_property
    def ensemble(self) -> AnyAnswers | None:
        """The mean answers of several seeds; None for one seed, or where answers have no mean."""
        if not self.is_of_several_seeds:
            return None
        averaged = average_answers([result.answers for result in self.results])
        if isinstance(averaged, Answers):
            return decide(averaged.expected, averaged.probabilities, self.decision)
        return averaged

    @property
    def answers(self) -> AnyAnswers:
        """The main answers: those of the only seed, of the ensemble, or of the saved seed."""
        saved = next(result for result in self.results if result.seed == self.saved_seed)
        return self.ensemble if self.ensemble is not None else saved.answers

    def list_scores(self) -> list[Score]:
        """Return the scores of the only seed, or those of the main answers followed by those of each seed."""
        if not self.is_of_several_seeds:
            return list(self.results[0].scores)
        main = ENSEMBLE if self.ensemble is not None else predictor_name(self.saved_seed)
        resamples = self.recipe.evaluate.bootstrap
        found = score_slices(
            self.task.metrics, self.answers, self.slices, resamples, predictor=main, groups=self.groups
        )
        for result in self.results:
            name = predictor_name(result.seed)
            found += [score.model_copy(update={"predictor": name}) for score in result.scores if name != main]
        return found

    def score_baselines(self) -> list[Score]:
        """Return the scores of the baselines on all test rows."""
        return [score for name, answers in self.baselines.items() for score in self._score_all(answers, name)]

    def score_undecided(self) -> list[Score]:
        """Return the main answers' scores on all rows without temperature and threshold; none where neither was fitted."""
        if self.decision is None:
            return []
        raw = []
        for result in self.results:
            assert isinstance(result.answers, Answers)
            temperature = result.decision.temperature if result.decision else None
            raw.append(temper(result.answers.probabilities, 1 / temperature if temperature else None))
        expected = self.results[0].answers.strata
        return self._score_all(build_answers(expected, np.mean(raw, axis=0)), "without what dev decided")

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
            label_texts(train, self.data.label_names),
            texts_of(test),
            name_rows(test),
            label_texts(test, self.data.label_names),
            self.answers.is_right if isinstance(self.answers, Answers) else None,
        )

    def find_errors(self) -> dict[str, Any]:
        """Return the part of a report that shows where answers of their kind are wrong, by its field there."""
        test, labels, answers = self.data.splits["test"].examples, self.data.label_names, self.answers
        rows, texts = name_rows(test), texts_of(test)
        if isinstance(answers, RegressionAnswers):
            return {"regression": find_number_errors(rows, texts, answers)}
        if isinstance(answers, MultilabelAnswers):
            resamples = self.recipe.evaluate.bootstrap
            return {"multilabel": find_label_errors(rows, texts, answers, labels, resamples, self.groups)}
        if isinstance(answers, LanguageAnswers):
            # Each objective of text has its context, and the masked ones their share.
            asked = (getattr(self.objective, name, None) for name in ("max_length", "mask_probability"))
            return {"language": find_hard_documents(rows, texts, answers, *asked)}
        expected, predicted, probabilities = answers.expected, answers.predicted, answers.probabilities
        return {
            "calibration": build_calibration(expected, probabilities),
            "curves": build_curves(answers, labels),
            "confusion": build_confusion(expected, predicted, labels),
            "confused": list_confused_pairs(rows, texts, expected, predicted, probabilities, labels),
            "mistakes": find_mistakes(rows, texts, expected, predicted, probabilities, labels),
            "doubts": find_label_doubts(rows, texts, expected, probabilities, labels),
        }

    def _score_all(self, answers: AnyAnswers, predictor: str) -> list[Score]:
        resamples = self.recipe.evaluate.bootstrap
        return score_rows(self.task.metrics, answers, resamples, predictor=predictor, groups=self.groups)


def assemble_report(
    name: str,
    evaluation: Evaluation,
    record: DataRecord,
    seeds: Sequence[SeedRecord],
    saved_because: str,
    provenance: Provenance,
) -> Report:
    """Return the report of a run, or of a fitted run on other rows."""
    task, recipe, answers = evaluation.task, evaluation.recipe, evaluation.answers
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
    errors: dict[str, Any] = {"confusion": None, "mistakes": [], **evaluation.find_errors()}
    return Report(
        name=name,
        task=task.name,
        title=task.title,
        objective="prompting" if recipe.evaluate.prompt is not None else task.objective,
        model_class=evaluation.objective.model_class,
        primary_metric=task.primary_metric,
        seeds=list(seeds),
        collapse=describe_collapse(seeds, answers),
        warnings=list_data_warnings(record, scores, task.primary_metric),
        data=record,
        scores=scores,
        seed_summaries=summaries,
        baselines=evaluation.score_baselines(),
        rival_tests=evaluation.compare_with_rivals(),
        bands=judge_bands(recipe.expect, scores, summaries),
        slice_tests=compare_slices(task.primary_metric, answers, evaluation.slices, evaluation.resampling),
        decisions=evaluation.list_decisions(),
        undecided=evaluation.score_undecided(),
        near_duplicates=evaluation.find_near_duplicates(),
        history=[point for result in evaluation.results for point in result.history],
        saved_seed=evaluation.saved_seed,
        saved_because=saved_because,
        recipe=recipe.model_dump(mode="json"),
        provenance=provenance,
        **errors,
    )


def write_report(report: Report, run_dir: RunDir) -> None:
    """Write report.json and what is rendered from it."""
    write_record(run_dir.report, report)
    render_files(report, run_dir)
