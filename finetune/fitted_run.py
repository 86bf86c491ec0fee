"""A finished run: its report, and its model asked about new texts.

Owns what can be asked of a run once it is complete. How a model answers is in `objectives`, `fill_mask`, `completion` and
`sentence_likelihood`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.answers import Answers, AnyAnswers, MultilabelAnswers, RegressionAnswers
from finetune.completion import Sampling, complete_texts
from finetune.data import TaskData, load_data
from finetune.decisions import apply_decision, read_decision
from finetune.errors import DataError, MissingInputError, UsageError
from finetune.features import choose_max_length
from finetune.fill_mask import Filling, fill_masks
from finetune.layouts import build_layout
from finetune.objective import Objective, build_objective
from finetune.recipe import Recipe
from finetune.records import Report
from finetune.run_dir import RunDir, read_report, refuse_changed_model
from finetune.sentence_likelihood import Likelihood, encode_sentences, score_sentences
from finetune.task import Task, get_task

if TYPE_CHECKING:
    from datasets import Dataset

    from finetune.checkpoint import Checkpoint
    from finetune.model import LoadedModel

Text = str | tuple[str, str]

CAUSAL, MASKED = frozenset({"AutoModelForCausalLM"}), frozenset({"AutoModelForMaskedLM", "AutoModelForPreTraining"})
"""Classes of transformers with a vocabulary head: those that go on with a text, and those that fill masks."""


@dataclass(frozen=True)
class Answer:
    """What a fitted model says of one text; probabilities by label name."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class LabelSet:
    """Which of several labels a fitted model says hold for one text; probabilities by label name, each by itself."""

    labels: tuple[str, ...]
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
    def task(self) -> Task:
        """The run's task."""
        return get_task(self.report.task)

    @cached_property
    def recipe(self) -> Recipe:
        """The run's recipe as it concerns new texts, its seed that of the saved model."""
        recipe = Recipe.model_validate({**self.report.recipe, "seeds": [self.report.saved_seed]})
        # They weigh a loss that isn't computed here, and may speak of train rows that aren't read.
        asked = recipe.train.model_copy(update={"class_weights": None}) if recipe.train else None
        return recipe.model_copy(update={"train": asked})

    @cached_property
    def objective(self) -> Objective:
        """How texts are encoded and the model is asked, as in the run."""
        from finetune.start import load_config, load_tokenizer

        checkpoint = self._checkpoint
        return build_objective(
            self.recipe, self.task, self._load_data(), load_tokenizer(checkpoint), load_config(checkpoint)
        )

    @cached_property
    def loaded(self) -> "LoadedModel":
        """The run's model, read on first use."""
        from finetune.model import load_fitted, place_on_device

        loaded = load_fitted(self._checkpoint, self.objective.model_class)
        place_on_device(loaded.model)
        return loaded

    @property
    def takes_pairs(self) -> bool:
        """Say whether a row of the run is a pair of texts."""
        layout = build_layout(self.recipe, self.task.source.layout if self.task.source else None)
        return self.task.objective == "next_sentence" or layout.text_pair is not None

    @property
    def is_causal(self) -> bool:
        """Say whether the run's model can go on with a text."""
        return self.objective.model_class in CAUSAL

    @property
    def fills_masks(self) -> bool:
        """Say whether the run's model can fill masks."""
        return self.objective.model_class in MASKED

    def predict(self, texts: Sequence[Text], batch_size: int = 64) -> list[Answer]:
        """Return the label of each text, or pair of texts, in the order given, under the run's temperature and threshold.

        Raises:
            UsageError: the run's model doesn't give one label a text.
        """
        if not texts:
            return []
        answers = apply_decision(self._answer(texts, batch_size), read_decision(RunDir(self.path).decision))
        if not isinstance(answers, Answers):
            raise self._refusal("one label a text")
        names = self.report.data.labels
        return [
            Answer(names[label], _by_name(names, row))
            for label, row in zip(answers.predicted, answers.probabilities, strict=True)
        ]

    def predict_numbers(self, texts: Sequence[Text], batch_size: int = 64) -> list[float]:
        """Return the number of each text, or pair of texts, of a regression.

        Raises:
            UsageError: the run's model doesn't give numbers.
        """
        if not texts:
            return []
        answers = self._answer(texts, batch_size)
        if not isinstance(answers, RegressionAnswers):
            raise self._refusal("numbers")
        return answers.predicted.tolist()

    def predict_label_sets(self, texts: Sequence[Text], batch_size: int = 64) -> list[LabelSet]:
        """Return which labels hold for each text, or pair of texts.

        Raises:
            UsageError: the run's model doesn't give several labels.
        """
        if not texts:
            return []
        answers = self._answer(texts, batch_size)
        if not isinstance(answers, MultilabelAnswers):
            raise self._refusal("several labels a text")
        names = self.report.data.labels
        return [
            LabelSet(tuple(name for name, holds in zip(names, held, strict=True) if holds), _by_name(names, row))
            for held, row in zip(answers.predicted, answers.probabilities, strict=True)
        ]

    def fill_mask(self, texts: Sequence[str], top_k: int = 5) -> list[list[list[Filling]]]:
        """Return the `top_k` likeliest tokens for each mask, written `<mask>` or `[MASK]`, of each text, the likeliest first.

        Raises:
            UsageError: the run's model fills no masks.
            DataError: a text has none, or is too long.
        """
        if not self.fills_masks:
            raise self._refusal("tokens for a mask")
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        return fill_masks(
            model, tokenizer, self._replace_in(texts), choose_max_length(None, model.config, tokenizer), top_k
        )

    def complete(self, texts: Sequence[str], sampling: Sampling | None = None) -> list[str]:
        """Return how each text goes on, the text itself left out; alike each time under the same seed.

        Raises:
            UsageError: the run's model isn't causal.
            DataError: a text is too long.
        """
        if not self.is_causal:
            raise self._refusal("completions")
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        limit = choose_max_length(None, model.config, tokenizer)
        return complete_texts(model, tokenizer, self._replace_in(texts), limit, sampling or Sampling())

    def likelihood(self, texts: Sequence[str], batch_size: int = 64) -> list[Likelihood]:
        """Return how likely a language model finds each text; of one that fills masks the pseudo-likelihood.

        Raises:
            UsageError: the run's model is no language model.
            DataError: a text is too long.
        """
        if not (self.is_causal or self.fills_masks):
            raise self._refusal("likelihoods of texts")
        if not texts:
            return []
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        limit = choose_max_length(None, model.config, tokenizer)
        features = encode_sentences(self._replace_in(texts), tokenizer, limit, causal=self.is_causal)
        if features.truncated:
            raise DataError(
                f"{features.truncated} of {len(texts)} texts are longer than the {limit} tokens of the model"
            )
        return score_sentences(model, tokenizer, features, batch_size, causal=self.is_causal)

    @property
    def _checkpoint(self) -> "Checkpoint":
        from finetune.checkpoint import open_checkpoint

        folder = RunDir(self.path).model
        if not folder.is_dir():
            raise MissingInputError(f"{self.path}: no {folder.name}/ in this run")
        refuse_changed_model(RunDir(self.path))
        return open_checkpoint(folder, str(self.path))

    def _load_data(self) -> TaskData:
        """Return the run's labels without its rows; with them where worked examples are shown in front of new texts.

        Raises:
            DataError: the train rows are no longer those of the run.
        """
        prompt = self.recipe.evaluate.prompt
        if prompt is None or not prompt.shots:
            return TaskData({}, tuple(self.report.data.labels), (), self.report.data)
        data = load_data(self.recipe, self.task)
        then, now = (
            [split.fingerprint for split in record.splits if split.part == "train"]
            for record in (self.report.data, data.record)
        )
        if then != now:
            raise DataError(
                f"{data.record.source}: the train rows, of which some are shown, have changed since the run"
            )
        return data

    def _answer(self, texts: Sequence[Text], batch_size: int) -> AnyAnswers:
        if self.task.objective in ("masked_lm", "causal_lm", "pretraining"):
            raise self._refusal("labels")
        features = self.objective.encode(self._build_examples(texts), "test")
        return self.objective.answer(self.loaded.model, features, batch_size)

    def _build_examples(self, texts: Sequence[Text]) -> "Dataset":
        from datasets import Dataset

        if isinstance(texts, str):
            raise DataError("a list of texts is expected; for one text write [text]")
        pairs = [text for text in texts if isinstance(text, tuple)]
        if pairs and len(pairs) < len(texts):
            raise DataError("either every input is one text, or every input is a pair of texts")
        columns: dict[str, list] = {"text": [pair[0] for pair in pairs], "text_pair": [pair[1] for pair in pairs]}
        if not pairs:
            columns = {"text": list(texts)}
        columns = {name: self._replace_in(column) for name, column in columns.items()}
        if self.task.objective == "multilabel":
            columns["label"] = [[0] * len(self.report.data.labels) for _ in texts]
        return Dataset.from_dict(columns)

    def _replace_in(self, texts: Sequence[str]) -> list[str]:
        """Return texts as those of the run's rows were read."""
        stated = self.recipe.data.replace
        replaced = list(texts)
        for old, new in (self.task.replace if stated is None else stated).items():
            replaced = [text.replace(old, new) for text in replaced]
        return replaced

    def _refusal(self, wanted: str) -> UsageError:
        kind = self.objective.model_class.removeprefix("AutoModelFor")
        return UsageError(f"{self.path}: {wanted} are not what a model of task {self.task.name} ({kind}) gives")


def _by_name(names: Sequence[str], probabilities: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, map(float, probabilities), strict=True))


def load_run(path: str | Path) -> FittedRun:
    """Return the completed run in `path`.

    Raises:
        MissingInputError: no such run, or it isn't complete.
        DataError: its report is damaged or of another schema version.
    """
    run = FittedRun(Path(path))
    run.report  # noqa: B018 - read now, so that a wrong path is known at once
    return run
