"""Prompts: templates and answers checked against rows and labels, worked examples drawn by the seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.errors import SettingError
from finetune.prompts import PromptText, build_prompt_text, draw_shots
from finetune.recipe_sections import PromptSettings
from finetune.task import Prompt, Task, get_task

SST2 = get_task("sst2")
BARE = Task("bare", "Without a prompt", ("accuracy",), "accuracy")
LABELS = ("negative", "positive")


def build(template: str | None = None, answers: dict[str, str] | None = None, *, has_pairs: bool = False) -> PromptText:
    return build_prompt_text(PromptSettings(template=template, answers=answers), SST2, LABELS, has_pairs=has_pairs)


def test_the_task_s_prompt_is_asked_where_the_recipe_states_none() -> None:
    prompt = build()
    assert prompt.ask(("Fine {text} film.",)) == "Review: Fine {text} film.\nSentiment:"
    assert prompt.show(("Dull.",), 0) == "Review: Dull.\nSentiment: negative\n\n"


def test_spaces_before_the_answer_belong_to_the_answer() -> None:
    prompt = build("{text} It was {answer}", {"negative": "bad", "positive": "good"})
    assert prompt.stem == "{text} It was"
    assert prompt.answers == (" bad", " good")


def test_a_pair_fills_both_places_and_braces_of_a_row_stay_as_they_are() -> None:
    prompt = build("{text_pair} after {text}?{answer}", has_pairs=True)
    assert prompt.ask(("{text_pair}", "{answer}")) == "{answer} after {text_pair}?"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{txt}: {answer}", "found {txt}, allowed are {text}, {answer}; did you mean 'text'?"),
        ("{text} {text_pair}{answer}", "and the rows are no pairs"),
        ("Review:{answer}", "{text} is missing"),
        ("{answer} fits {text}", "has to stand once, at the end"),
        ("{text}{answer} {answer}", "has to stand once, at the end"),
        ("{text}", "has to stand once, at the end"),
    ],
)
def test_a_template_that_does_not_fit_is_refused(template: str, message: str) -> None:
    with pytest.raises(SettingError, match=r"^evaluate\.prompt\.template: ") as caught:
        build(template)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            {"negativ": " bad", "positive": " good"},
            "no label is called 'negativ', there are negative, positive; did you",
        ),
        ({"positive": " good"}, "no word stands for the label 'negative'"),
        ({"negative": " ", "positive": " good"}, "the word for the label 'negative' is empty"),
        ({"negative": " so", "positive": " so"}, "' so' stands for two labels, 'negative' and 'positive'"),
    ],
)
def test_answers_that_do_not_fit_the_labels_are_refused(answers: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        build(answers=answers)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "key"), [(PromptSettings(), "template"), (PromptSettings(template="{text}{answer}"), "answers")]
)
def test_a_task_without_a_prompt_needs_one_in_the_recipe(settings: PromptSettings, key: str) -> None:
    with pytest.raises(SettingError, match=f"prompt.{key}: missing, and task bare has none of its own"):
        build_prompt_text(settings, BARE, LABELS, has_pairs=False)


def test_every_task_s_own_prompt_fits_its_labels() -> None:
    for name in ("cola", "sst2"):
        task = get_task(name)
        assert isinstance(task.prompt, Prompt) and task.labels is not None
        assert build_prompt_text(PromptSettings(), task, tuple(task.labels.values()), has_pairs=False).answers


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(2, 4), st.integers(0, 10_000), st.integers(0, 10_000))
def test_worked_examples_are_balanced_distinct_and_follow_from_the_seed(
    shots: int, classes: int, seed: int, data_seed: int
) -> None:
    names = [f"label {number}" for number in range(classes)]
    labels = np.concatenate(
        (np.arange(classes).repeat(10), np.random.default_rng(data_seed).integers(classes, size=20))
    )
    rows = draw_shots(labels, names, shots, seed, lambda row: row % 7 > 0)
    assert rows == draw_shots(labels, names, shots, seed, lambda row: row % 7 > 0)
    assert len(set(rows)) == shots and all(row % 7 > 0 for row in rows)
    counts = Counter(int(labels[row]) for row in rows)
    assert {counts[label] for label in range(classes)} <= {shots // classes, -(-shots // classes)}


def test_another_seed_draws_other_rows_in_another_order() -> None:
    labels = np.tile([0, 1], 50)
    drawn = {tuple(draw_shots(labels, LABELS, 4, seed, lambda _: True)) for seed in range(20)}
    assert len(drawn) == 20
    assert len({tuple(labels[list(rows)]) for rows in drawn}) > 2, "the order of labels is drawn too"


def test_too_few_short_rows_of_a_label_are_refused() -> None:
    with pytest.raises(
        SettingError,
        match="found 4, for which 2 labelled 'positive' are shown, but of the 3 train rows with this label 1 are short",
    ):
        draw_shots(np.array([0, 0, 0, 1, 1, 1]), LABELS, 4, 1, lambda row: row < 4)
