"""From a model and features to probabilities in row order, and from a finished run to answers about new texts.

Owns inference: every row once, in file order, whatever the batches and processes. Computes no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, predicted_labels
from finetune.data import groups_of, texts_of
from finetune.data_checks import hash_row
from finetune.decisions import read_decision, temper
from finetune.errors import DataError, InvalidResultError, MissingInputError
from finetune.records import EvaluatedRow, Prediction, Report
from finetune.run_dir import RunDir, read_report

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from finetune.data import TaskData
    from finetune.features import FeatureRows
    from finetune.model import LoadedModel
    from finetune.task import Part


def predict_logits(
    model: "PreTrainedModel",
    features: "FeatureRows",
    batch_size: int,
    *,
    process: int = 0,
    processes: int = 1,
    pad_to: int | None = None,
) -> NDArray[np.float32]:
    """Return logits (rows, classes) in row order, the same on every process.

    Batches hold rows of like length, so that next to nothing is padding; each process takes every `processes`-th of them.
    """
    import torch

    from finetune.batching import Collator, Slot, order_for_evaluation

    collate = Collator(model.config.pad_token_id or 0, pad_to=pad_to)
    was_training = model.training
    model.eval()
    found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
    with torch.inference_mode():
        for numbers in order_for_evaluation(features.lengths, batch_size)[process::processes]:
            batch = collate([(features[int(number)], Slot(int(number))) for number in numbers])
            for name in ("labels", "weights", "example_count", "token_count"):
                del batch[name]
            logits = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).logits
            found.append((numbers, logits.float().cpu().numpy()))
    model.train(was_training)
    if processes > 1:
        from accelerate.utils import gather_object

        found = gather_object(found)
    merged = np.zeros((len(features), int(model.config.num_labels or 0)), dtype=np.float32)
    for numbers, logits in found:
        merged[numbers] = logits
    return merged


def probabilities_of(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the softmax of logits (rows, classes), in 64-bit floats.

    Raises:
        InvalidResultError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits).all(axis=1)).sum())
        raise InvalidResultError(
            f"the model's output is not finite on {bad} of {len(logits)} rows; nothing is reported"
        )
    from scipy.special import softmax

    return np.asarray(softmax(logits.astype(np.float64), axis=1))


def build_predictions(data: "TaskData", part: "Part", answers: Answers) -> list[Prediction]:
    """Return one record a row of a split, in its order."""
    names = data.label_names
    return [
        Prediction(
            row=row,
            split=part,
            expected=names[expected],
            predicted=names[predicted],
            probabilities=probabilities.tolist(),
        )
        for row, expected, predicted, probabilities in zip(
            data.splits[part].examples["row"],
            answers.expected,
            answers.predicted,
            answers.probabilities,
            strict=True,
        )
    ]


def build_rows(data: "TaskData") -> list[EvaluatedRow]:
    """Return one record a test row: what was asked, so that runs can be compared row by row."""
    examples = data.splits["test"].examples
    groups = groups_of(examples) or [None] * len(examples)
    labels = [data.label_names[label] for label in examples["label"]]
    return [
        EvaluatedRow(row=row, key=hash_row(texts, label), texts=list(texts), label=label, group=group)
        for row, texts, label, group in zip(examples["row"], texts_of(examples), labels, groups, strict=True)
    ]


@dataclass(frozen=True)
class Answer:
    """What a fitted model says of one text; probabilities by label name."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class FittedRun:
    """A completed run: its report, and its model for new texts."""

    path: Path

    @cached_property
    def report(self) -> Report:
        """The run's report."""
        return read_report(RunDir(self.path))

    @cached_property
    def loaded(self) -> "LoadedModel":
        """The run's model, read on first use."""
        from finetune.checkpoint import open_checkpoint
        from finetune.model import label_names_of, load_classifier, load_config, place_on_device

        folder = RunDir(self.path).model
        if not folder.is_dir():
            raise MissingInputError(f"{self.path}: no {folder.name}/ in this run")
        checkpoint = open_checkpoint(folder, str(self.path))
        loaded = load_classifier(checkpoint, label_names_of(load_config(checkpoint)), may_draw_head=False)
        place_on_device(loaded.model)
        return loaded

    def predict(self, texts: Sequence[str | tuple[str, str]], batch_size: int = 64) -> list[Answer]:
        """Return an answer for each text, or pair of texts, in the order given, under the run's temperature and threshold."""
        if isinstance(texts, str):
            raise DataError("a list of texts is expected; for one text write [text]")
        if not texts:
            return []
        from datasets import Dataset

        from finetune.features import choose_max_length, encode_features
        from finetune.model import label_names_of

        is_pair = isinstance(texts[0], tuple)
        if any(isinstance(text, tuple) != is_pair for text in texts):
            raise DataError("either every input is one text, or every input is a pair of texts")
        columns = (
            {"text": [text[0] for text in texts], "text_pair": [text[1] for text in texts]}
            if is_pair
            else {"text": list(texts)}
        )
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        limit = choose_max_length(self.report.recipe["data"].get("max_length"), model.config, tokenizer)
        features = encode_features(Dataset.from_dict(columns), tokenizer, limit)
        names = label_names_of(model.config)
        decision = read_decision(RunDir(self.path).decision)
        raw = probabilities_of(predict_logits(model, features, batch_size))
        probabilities = temper(raw, decision.temperature if decision else None)
        labels = predicted_labels(probabilities, decision.threshold if decision else None)
        return [
            Answer(names[label], dict(zip(names, map(float, row), strict=True)))
            for label, row in zip(labels, probabilities, strict=True)
        ]


def load_run(path: str | Path) -> FittedRun:
    """Return the completed run in `path`.

    Raises:
        MissingInputError: no such run, or it isn't complete.
        DataError: its report is damaged or of another schema version.
    """
    run = FittedRun(Path(path))
    run.report  # noqa: B018 - read now, so that a wrong path is known at once
    return run
