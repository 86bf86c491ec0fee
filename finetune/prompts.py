"""The text of a prompt: a template filled with a row, behind worked examples.

Owns templates, the words that stand for labels, and which train rows are shown. Tokens and likelihoods are in `objectives/prompting`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.errors import SettingError, suggest
from finetune.recipe_sections import PromptSettings
from finetune.task import Prompt, Task

ANSWER = "{answer}"
CONTENT_FREE = ("N/A", "", "[MASK]")
"""Texts without content, after which a model's leaning to an answer shows (Zhao et al. 2021, section 5)."""


@dataclass(frozen=True)
class PromptText:
    """A template cut at its answer.

    Attributes:
        stem: the template up to the answer, without the space before it.
        answers: what stands for each label, in the order of label ids; a space before it is part of it, as byte pairs have it.
        separator: what stands behind each worked example.
    """

    stem: str
    answers: tuple[str, ...]
    separator: str

    def ask(self, texts: Sequence[str]) -> str:
        """Return the prompt of a row, ready for its answer."""
        values = dict(zip(("text", "text_pair"), texts, strict=False))
        return re.sub(r"\{(text|text_pair)\}", lambda found: values[found[1]], self.stem)

    def show(self, texts: Sequence[str], label: int) -> str:
        """Return a row with its answer, as a worked example."""
        return f"{self.ask(texts)}{self.answers[label]}{self.separator}"


def build_prompt_text(
    settings: PromptSettings, task: Task, label_names: Sequence[str], *, has_pairs: bool
) -> PromptText:
    """Return how a row is asked: as the recipe states it, else as the task does.

    Raises:
        SettingError: neither states it; the template doesn't fit the rows; or the answers don't fit the labels.
    """
    own = task.prompt
    template = settings.template if settings.template is not None else own.template if own else None
    answers = settings.answers if settings.answers is not None else dict(own.answers) if own else None
    for key, value in (("template", template), ("answers", answers)):
        if value is None:
            raise SettingError(f"evaluate.prompt.{key}", f"missing, and task {task.name} has none of its own")
    assert template is not None and answers is not None
    _check_template(template, has_pairs=has_pairs)
    _check_answers(answers, label_names)
    stem = template.removesuffix(ANSWER).rstrip(" ")
    gap = template[len(stem) :].removesuffix(ANSWER)
    return PromptText(stem, tuple(gap + answers[name] for name in label_names), (own or Prompt("", {})).separator)


def _check_template(template: str, *, has_pairs: bool) -> None:
    key, wanted = "evaluate.prompt.template", ["text", "text_pair"] if has_pairs else ["text"]
    named = re.findall(r"\{(\w+)\}", template)
    for name in named:
        if name not in (*wanted, "answer"):
            aside = ", and the rows are no pairs" if name == "text_pair" else suggest(name, [*wanted, "answer"])
            allowed = ", ".join(f"{{{name}}}" for name in (*wanted, "answer"))
            raise SettingError(key, f"found {{{name}}}, allowed are {allowed}{aside}")
    for name in wanted:
        if name not in named:
            raise SettingError(key, f"{{{name}}} is missing, so the model would not see it")
    if not template.endswith(ANSWER) or named.count("answer") > 1:
        raise SettingError(key, f"{ANSWER} has to stand once, at the end: likelihoods are read after all that is asked")


def _check_answers(answers: dict[str, str], label_names: Sequence[str]) -> None:
    key = "evaluate.prompt.answers"
    for name in answers:
        if name not in label_names:
            raise SettingError(
                key, f"no label is called '{name}', there are {', '.join(label_names)}{suggest(name, label_names)}"
            )
    words: dict[str, str] = {}
    for name in label_names:
        if name not in answers:
            raise SettingError(key, f"no word stands for the label '{name}'")
        word = answers[name]
        if not word.strip():
            raise SettingError(key, f"the word for the label '{name}' is empty")
        if word in words:
            raise SettingError(key, f"'{word}' stands for two labels, '{words[word]}' and '{name}'")
        words[word] = name


def draw_shots(
    labels: NDArray[np.int64], label_names: Sequence[str], shots: int, seed: int, fits: Callable[[int], bool]
) -> list[int]:
    """Return which train rows are shown, and in which order: as many of each label as divide, all drawn by the seed.

    `labels` (rows,) are those of the train rows; only rows that `fits` are shown.

    Raises:
        SettingError: too few rows of a label fit.
    """
    generator = np.random.default_rng(seed)
    wanted = np.full(len(label_names), shots // len(label_names))
    wanted[generator.permutation(len(label_names))[: shots % len(label_names)]] += 1
    chosen: list[int] = []
    for label, count in enumerate(wanted):
        rows = generator.permutation(np.flatnonzero(labels == label))
        found: list[int] = []
        for row in rows:
            if len(found) == count:
                break
            if fits(int(row)):
                found.append(int(row))
        if len(found) < count:
            raise SettingError(
                "evaluate.prompt.shots",
                f"found {shots}, for which {count} labelled '{label_names[label]}' are shown, but of the {len(rows)} train rows with "
                f"this label {len(found)} are short enough for an equal share of the model's context",
            )
        chosen += found
    return [int(row) for row in generator.permutation(chosen)]
