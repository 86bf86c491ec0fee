"""The metadata at the head of a model card, by which the hub finds, links and compares models.

Owns which of a report's figures stand there and under which names (`model-index`, https://github.com/huggingface/hub-docs,
modelcard.md). What people read below is `model_card`.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune.card_examples import find_pipeline
from finetune.findings import Decision
from finetune.recipe_sections import FOLDER_STARTS, HUB_NAME
from finetune.records import Report, Score
from finetune.report import predictor_name
from finetune.task import Source, get_task, list_tasks
from finetune.wording import count_of, find_summary, format_range, main_predictor, metric_title, plain

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TAG = "finetune-recipes"
# Where the hub knows a metric by another name: that name, and what tells ours from its default.
HUB_METRICS: dict[str, tuple[str, dict[str, str]]] = {
    "macro_f1": ("f1", {"average": "macro"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "subset_accuracy": ("accuracy", {"of": "whole sets of labels"}),
    "brier": ("brier_score", {}),
    "pearson": ("pearsonr", {}),
    "spearman": ("spearmanr", {}),
    "mean_squared_error": ("mse", {}),
    "mean_absolute_error": ("mae", {}),
}
PIPELINE_TITLES = {
    "text-classification": "Text Classification",
    "fill-mask": "Fill-Mask",
    "text-generation": "Text Generation",
}
# What the hub takes for the name of a data set or a tag.
_SLUG = re.compile(r"[\w.-]+", re.ASCII)
# In `cola/validation-00000-of-00001.parquet` the configuration and the split.
_HUB_FILE = re.compile(r"(?:([^/]+)/)?(\w+)-\d+-of-\d+\.parquet")


def build_card_data(report: Report) -> "ModelCardData":
    """Return what the hub reads: checkpoint, data set, metrics, results.

    Licence and language are left out, since a run knows neither; whoever does adds them to the file.
    """
    from huggingface_hub import ModelCardData

    results = build_eval_results(report)
    is_trained = report.recipe.get("train") is not None
    source = _hub_source(report)
    return ModelCardData(
        base_model=_hub_checkpoint(report),
        datasets=[source.hub_id] if source and source.hub_id and is_trained else None,
        library_name="transformers",
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        pipeline_tag=find_pipeline(report),
        tags=[TAG, *([report.task] if _SLUG.fullmatch(report.task) else [])],
        model_name=(plain(report.name) or "model") if results else None,
        eval_results=results or None,
    )


def build_eval_results(report: Report) -> "list[EvalResult]":
    """Return the scores on all test rows of the model that the run saved; an undefined one is left out.

    The hub has no field for an interval: it stands in the metric's name for people and in its `args` for programs.
    """
    from huggingface_hub import EvalResult

    dataset, pipeline = find_dataset(report), find_pipeline(report)
    decision = find_own_decision(report)
    fitted = {"temperature": decision.temperature, "threshold": decision.threshold} if decision else {}
    found = []
    for score in find_own_scores(report):
        if score.value is None:
            continue
        kind, options = HUB_METRICS.get(score.name, (score.name, {}))
        over = find_summary(report, score.name)
        details = {
            "low": score.low,
            "high": score.high,
            "interval": f"95 %, bootstrap over {score.resampling}" if score.low is not None else None,
            "rows": score.n,
            "seed": report.saved_seed,
            "seeds": len(report.seeds),
            "mean_over_seeds": over.mean if over else None,
            "standard_deviation_over_seeds": over.standard_deviation if over else None,
            **fitted,
        }
        found.append(
            EvalResult(
                task_type=pipeline,
                task_name=PIPELINE_TITLES[pipeline],
                dataset_type=dataset.type,
                dataset_name=dataset.name,
                dataset_config=dataset.config,
                dataset_split=dataset.split,
                dataset_revision=dataset.revision,
                dataset_args={"rows": dataset.rows, "sha256": dataset.fingerprint},
                metric_type=kind,
                metric_value=score.value,
                metric_name=_name_metric(report, score),
                metric_args={**options, **{name: value for name, value in details.items() if value is not None}},
            )
        )
    return found


def _name_metric(report: Report, score: Score) -> str:
    """Return the name of a metric with its interval, rows and seed."""
    seed = f"seed {report.saved_seed}" + (f" of {len(report.seeds)}" if len(report.seeds) > 1 else "")
    has_interval = score.low is not None and score.high is not None
    interval = [f"95 % interval {format_range(score.low, score.high, score.name)}"] if has_interval else []
    return ", ".join([metric_title(score.name), *interval, count_of(score.n, "row"), seed])


@dataclass(frozen=True)
class CardDataset:
    """The test rows as the hub names a data set; of rows that no hub has, `type` is the task's name."""

    type: str
    name: str
    rows: int
    fingerprint: str
    config: str | None = None
    split: str = "test"
    revision: str | None = None


def find_dataset(report: Report) -> CardDataset:
    """Return what the hub is told of the test rows: the hub's own data set only where these are all rows of its split."""
    test = next(split for split in report.data.splits if split.part == "test")
    source, title, fingerprint = _hub_source(report), plain(report.title), plain(test.fingerprint)
    in_hub = _HUB_FILE.fullmatch(source.hub_files["test"][0]) if source and "test" in source.hub_files else None
    if source is None or in_hub is None or test.rows != get_task(report.task).test_rows:
        kind = report.task if _SLUG.fullmatch(report.task) else "unknown"
        return CardDataset(kind, f"{title}: {plain(test.origin)}", test.rows, fingerprint)
    hub_id, revision = str(source.hub_id), str(source.hub_revision)
    # The same rows in local files have no revision.
    stated = revision if f"{hub_id} at {revision[:8]}" in report.data.source else None
    return CardDataset(hub_id, title, test.rows, fingerprint, in_hub[1], in_hub[2], stated)


def _hub_source(report: Report) -> Source | None:
    """Return the task's own source where the rows came from there and the hub has them, too."""
    if report.task not in list_tasks() or (report.recipe.get("data") or {}).get("path") is not None:
        return None
    source = get_task(report.task).source
    return source if source and source.hub_id else None


def _hub_checkpoint(report: Report) -> str | None:
    """Return the checkpoint where the hub has it."""
    stated = (report.recipe.get("model") or {}).get("checkpoint") or ""
    return stated if HUB_NAME.fullmatch(stated) and not stated.startswith(FOLDER_STARTS) else None


def find_own_predictor(report: Report) -> str:
    """Return whose scores are those of the saved weights."""
    name = predictor_name(report.saved_seed)
    return name if any(score.predictor == name for score in report.scores) else main_predictor(report)


def find_own_scores(report: Report) -> list[Score]:
    """Return the scores of the saved weights on all test rows."""
    predictor = find_own_predictor(report)
    return [score for score in report.scores if score.predictor == predictor and score.slice == "all"]


def find_own_score(report: Report, name: str) -> Score | None:
    """Return one of them."""
    return next((score for score in find_own_scores(report) if score.name == name), None)


def find_own_decision(report: Report) -> Decision | None:
    """Return the temperature or threshold that is applied to the outputs of the saved weights, where there is one."""
    predictor = find_own_predictor(report)
    found = next((decision for decision in report.decisions if decision.predictor == predictor), None)
    return found if found and (found.temperature is not None or found.threshold is not None) else None
