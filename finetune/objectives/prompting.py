"""Prompting: a causal language model that isn't fine-tuned, asked by prompt; the likelihoods of the labels' words decide.

Owns the tokens of prompts and answers, and the way from likelihoods to probabilities. The text of a prompt is `prompts`, the forward
pass `token_likelihoods`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from finetune.answers import Answers, Probabilities, build_answers
from finetune.data import texts_of
from finetune.errors import SettingError
from finetune.features import FeatureRows, Features, choose_max_length, labels_of
from finetune.layouts import build_layout
from finetune.predict import probabilities_of
from finetune.prompts import CONTENT_FREE, PromptText, build_prompt_text, draw_shots
from finetune.recipe_sections import PromptSettings
from finetune.sentence_likelihood import is_causal
from finetune.text_features import find_end_tokens
from finetune.token_likelihoods import Query, ask_tokens

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from finetune.data import TaskData
    from finetune.recipe import Recipe
    from finetune.task import Part, Task


@dataclass(frozen=True)
class Prompting:
    """Ask which label's word goes on from a row's prompt most likely.

    A text too long for the model's context is cut at its end, as for a classifier; worked examples are never cut, but drawn among
    the train rows that take no more than an equal share of the context.

    Attributes:
        label_names: names of the labels, in the order of their ids.
        max_length: most tokens of prompt and answer together.
        train: rows that worked examples are drawn from; None where there are none.
        seed: which are drawn, and in which order they stand.
    """

    model_class: ClassVar[str] = "AutoModelForCausalLM"
    problem_type: ClassVar[None] = None
    measures_start: ClassVar[bool] = False

    tokenizer: "PreTrainedTokenizerBase"
    prompt: PromptText
    settings: PromptSettings
    label_names: tuple[str, ...]
    max_length: int
    train: "Dataset | None"
    seed: int

    @property
    def encodes_by_seed(self) -> bool:
        """Say whether prompts differ from seed to seed."""
        return self.settings.shots > 0

    def for_seed(self, seed: int) -> "Prompting":
        """Return the objective with the worked examples of another seed."""
        return replace(self, seed=seed)

    @cached_property
    def answers(self) -> list[list[int]]:
        """Tokens of each label's word."""
        return self._encode_texts(self.prompt.answers)

    @cached_property
    def examples(self) -> str:
        """The worked examples that stand before every row.

        Raises:
            SettingError: too few train rows are short enough.
        """
        if self.train is None or not self.settings.shots:
            return ""
        share = self.max_length // (self.settings.shots + 1)
        texts, labels = texts_of(self.train), labels_of(self.train)

        def show(row: int) -> str:
            return self.prompt.show(texts[row], int(labels[row]))

        def fits(row: int) -> bool:
            return len(self._encode_texts([show(row)])[0]) <= share

        rows = draw_shots(labels, self.label_names, self.settings.shots, self.seed, fits)
        return "".join(map(show, rows))

    def encode(self, examples: "Dataset", part: "Part") -> Features:
        """Return the prompts of all examples as tokens, ready for an answer."""
        return self._encode_prompts(texts_of(examples), labels_of(examples))

    def answer(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> Answers:
        """Return the label and probabilities of every row."""
        scores = self._score(model, features, batch_size, process=process, processes=processes)
        probabilities = probabilities_of(scores)
        if self.settings.calibrate:
            width = 2 if "{text_pair}" in self.prompt.stem else 1
            blank = self._encode_prompts([(text,) * width for text in CONTENT_FREE], np.zeros(len(CONTENT_FREE)))
            probabilities = calibrate(probabilities, probabilities_of(self._score(model, blank, batch_size)))
        return build_answers(features.labels, probabilities)

    def _score(
        self, model: "PreTrainedModel", features: FeatureRows, batch_size: int, *, process: int = 0, processes: int = 1
    ) -> NDArray[np.float64]:
        """Return the log likelihood of each answer, or its mean over the answer's tokens, (rows, labels)."""
        queries = AnswerQueries(features, self.answers)
        found = ask_tokens(
            model,
            queries,
            queries.lengths,
            batch_size,
            shares_beginning=True,
            process=process,
            processes=processes,
        )
        if queries.is_one_pass:
            return np.concatenate(found)
        reduce = np.mean if self.settings.normalise_length else np.sum
        return np.array([reduce(values) for values in found]).reshape(len(features), -1)

    def _encode_prompts(self, rows: Sequence[tuple[str, ...]], labels: NDArray) -> Features:
        begin, _ = find_end_tokens(self.tokenizer)
        room = self.max_length - 1 - max(map(len, self.answers))
        prompts = self._encode_texts([self.examples + self.prompt.ask(texts) for texts in rows])
        truncated = [number for number, ids in enumerate(prompts) if len(ids) > room]
        for number in truncated:
            prompts[number] = self._cut_prompt(rows[number], room)
        return Features(
            input_ids=np.concatenate([np.array([begin, *ids], dtype=np.int32) for ids in prompts]),
            token_type_ids=None,
            starts=np.concatenate(([0], np.cumsum([1 + len(ids) for ids in prompts], dtype=np.int64))),
            labels=labels,
            truncated=len(truncated),
        )

    def _cut_prompt(self, texts: tuple[str, ...], room: int) -> list[int]:
        """Return the prompt of a row whose longer text is cut at its end until all fits.

        Raises:
            SettingError: it doesn't even without text.
        """
        kept = list(texts)
        while True:
            ids = self._encode_texts([self.examples + self.prompt.ask(kept)])[0]
            if len(ids) <= room:
                return ids
            encoded = self.tokenizer(kept, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            spans = encoded["offset_mapping"]
            longest = max(range(len(kept)), key=lambda number: len(spans[number]))
            if not spans[longest]:
                raise SettingError(
                    "evaluate.prompt",
                    f"a prompt without its text takes {len(ids)} tokens of {room}: fewer shots or a shorter template",
                )
            keep = max(0, len(spans[longest]) - (len(ids) - room))
            kept[longest] = kept[longest][: spans[longest][keep][0]]

    def _encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        return self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


class AnswerQueries:
    """Ask for every answer behind every prompt: in one row a prompt where each is one token, else in one row an answer."""

    def __init__(self, features: FeatureRows, answers: Sequence[Sequence[int]]) -> None:
        self.features = features
        self.answers = [np.array(answer, dtype=np.int32) for answer in answers]
        self.is_one_pass = all(len(answer) == 1 for answer in answers)
        # The last token of an answer is never read from.
        longer = [0] if self.is_one_pass else [len(answer) - 1 for answer in answers]
        self.lengths = (features.lengths[:, None] + np.array(longer)).reshape(-1)

    def __len__(self) -> int:
        """Return the number of rows that go through the model."""
        return len(self.lengths)

    def __getitem__(self, number: int) -> Query:
        """Return a prompt, with an answer where that has several tokens."""
        if self.is_one_pass:
            prompt = self.features[number].input_ids
            return Query(prompt, np.array([len(prompt) - 1]), np.concatenate(self.answers)[None].astype(np.int64))
        row, label = divmod(number, len(self.answers))
        prompt, answer = self.features[row].input_ids, self.answers[label]
        places = len(prompt) - 1 + np.arange(len(answer))
        return Query(np.concatenate([prompt, answer[:-1]]), places, answer[:, None].astype(np.int64))


def calibrate(probabilities: Probabilities, blank: Probabilities) -> Probabilities:
    """Return probabilities (rows, labels) divided by the mean of those of rows without content, `blank` (rows, labels).

    Contextual calibration of Zhao et al. (2021), section 5: what the prompt alone makes likely no longer counts.
    """
    weighed = probabilities / blank.mean(axis=0)
    return weighed / weighed.sum(axis=1, keepdims=True)


def build(
    recipe: "Recipe", task: "Task", data: "TaskData", tokenizer: "PreTrainedTokenizerBase", config: "PretrainedConfig"
) -> Prompting:
    """Return the objective of a recipe that asks a causal language model by prompt.

    Raises:
        SettingError: the model isn't causal, the recipe trains it, or the prompt doesn't fit the rows, the labels or the context.
        DataError: the tokenizer lacks a token that is needed.
    """
    settings = recipe.evaluate.prompt
    assert settings is not None
    if recipe.train is not None:
        raise SettingError("evaluate.prompt", "a language model is asked by prompt as it is: state train: null")
    if task.objective != "classification":
        raise SettingError("evaluate.prompt", f"a prompt asks for labels; task {task.name} is {task.objective}")
    if not is_causal(config):
        raise SettingError(
            "evaluate.prompt",
            f"a causal language model such as GPT-2 is needed, found architecture {config.model_type}",
        )
    if settings.shots and "train" not in data.splits:
        raise SettingError(
            "evaluate.prompt.shots", f"{settings.shots} worked examples need train rows, and there are none"
        )
    layout = build_layout(recipe, task.source.layout if task.source else None)
    prompt = build_prompt_text(settings, task, data.label_names, has_pairs=layout.text_pair is not None)
    limit = choose_max_length(recipe.data.max_length, config, tokenizer)
    train = data.splits["train"].examples if settings.shots else None
    return Prompting(tokenizer, prompt, settings, data.label_names, limit, train, recipe.seeds[0])
