"""From the seeds of a run to its report: the ensemble, the baselines, the summary, and the record of them all.

Owns which probabilities and scores go into a report. The figures are made in `scores` and `report`, shown by `render`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.baselines import BAG_OF_WORDS, MAJORITY, bag_of_words_probabilities, majority_probabilities
from finetune.data import TaskData, name_rows, texts_of
from finetune.records import DataRecord, Provenance, Report, Score, SeedRecord
from finetune.render import render_files
from finetune.report import (
    ENSEMBLE,
    SeedResult,
    build_confusion,
    describe_collapse,
    find_mistakes,
    judge_bands,
    list_data_warnings,
    predictor_name,
    summarise_seeds,
)
from finetune.run_dir import RunDir, write_record
from finetune.scores import score_rows, score_slices

if TYPE_CHECKING:
    from finetune.recipe import Recipe
    from finetune.task import Task


def average_probabilities(results: Sequence[SeedResult]) -> NDArray[np.float64]:
    """Return the mean over seeds, (rows, classes): the answers of the ensemble, or of the only seed."""
    return np.mean([result.probabilities for result in results], axis=0)


def collect_scores(
    results: Sequence[SeedResult], task: "Task", recipe: "Recipe", labels: NDArray[np.int64], slices: dict
) -> list[Score]:
    """Return the scores of the only seed, or those of the ensemble followed by those of each seed."""
    if len(results) == 1:
        return list(results[0].scores)
    averaged = average_probabilities(results)
    found = score_slices(task.metrics, labels, averaged, slices, recipe.evaluate.bootstrap, ENSEMBLE)
    for result in results:
        name = predictor_name(result.seed)
        found += [score.model_copy(update={"predictor": name}) for score in result.scores]
    return found


def score_baselines(data: TaskData, task: "Task", recipe: "Recipe", labels: NDArray[np.int64]) -> list[Score]:
    """Return the scores of the baselines on the test rows; none where nothing was trained."""
    if "train" not in data.splits:
        return []
    train_labels = list(data.splits["train"].examples["label"])
    answers = {
        MAJORITY: majority_probabilities(train_labels, len(labels), len(data.label_names)),
        BAG_OF_WORDS: bag_of_words_probabilities(data),
    }
    return [
        score
        for name, probabilities in answers.items()
        for score in score_rows(task.metrics, labels, probabilities, recipe.evaluate.bootstrap, name)
    ]


def assemble_report(
    name: str,
    recipe: "Recipe",
    task: "Task",
    data: TaskData,
    record: DataRecord,
    results: Sequence[SeedResult],
    seeds: Sequence[SeedRecord],
    scores: Sequence[Score],
    baselines: Sequence[Score],
    saved: tuple[int, str],
    provenance: Provenance,
) -> Report:
    """Return the report of a run, or of a fitted run on other rows."""
    test = data.splits["test"].examples
    labels = np.asarray(test["label"], dtype=np.int64)
    averaged = average_probabilities(results)
    summaries = summarise_seeds(results) if len(results) > 1 else []
    return Report(
        name=name,
        task=task.name,
        title=task.title,
        primary_metric=task.primary_metric,
        seeds=list(seeds),
        collapse=describe_collapse(seeds),
        warnings=list_data_warnings(record, scores, task.primary_metric),
        data=record,
        scores=list(scores),
        seed_summaries=summaries,
        baselines=list(baselines),
        bands=judge_bands(recipe.expect, scores, summaries),
        confusion=build_confusion(labels, averaged, data.label_names),
        mistakes=find_mistakes(name_rows(test), texts_of(test), labels, averaged, data.label_names),
        history=[point for result in results for point in result.history],
        saved_seed=saved[0],
        saved_because=saved[1],
        recipe=recipe.model_dump(mode="json"),
        provenance=provenance,
    )


def write_report(report: Report, run_dir: RunDir) -> None:
    """Write report.json and what is rendered from it."""
    write_record(run_dir.report, report)
    render_files(report, run_dir)
