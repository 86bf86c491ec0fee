"""A finished run: its report, and its model asked about new texts.

Owns what can be asked of a run once it is complete. How a model answers is in `objectives`, `fill_mask`, `completion` and
`sentence_likelihood`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.answers import predicted_labels
from finetune.decisions import read_decision, temper
from finetune.errors import DataError, MissingInputError
from finetune.predict import predict_logits, probabilities_of
from finetune.records import Report
from finetune.run_dir import RunDir, read_report

if TYPE_CHECKING:
    from finetune.model import LoadedModel


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
