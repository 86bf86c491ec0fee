"""What a report of numbers, sets of labels or likelihoods shows, and what it leaves out."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from finetune.answers import build_answers, build_language_answers, build_multilabel_answers, build_regression_answers
from finetune.collapse import describe_collapse, find_collapse
from finetune.ensembles import average_answers
from finetune.error_findings import MOST_POINTS, find_hard_documents, find_label_errors, find_number_errors
from finetune.headline import build_headline
from finetune.model_card import render_model_card
from finetune.objective_tables import describe_asked
from finetune.records import SeedRecord
from finetune.render import list_pictures, render_html, render_markdown
from finetune.report_facts import list_provenance
from finetune.report_tables import build_score_table, build_seed_table, describe_seeds
from finetune.wording import format_difference, format_score
from tests.kind_examples import (
    KIND_EXAMPLES,
    PHENOMENA,
    causal_text_of_seeds,
    label_sets,
    make_label_sets,
    make_likelihoods,
    make_numbers,
    masked_text,
    name_rows,
    numbers,
    pretrained,
    write_texts,
)

OF_CLASSES = ("Confusion", "Surest mistakes", "Calibration", "Curves", "Doubted labels")


class Headings(HTMLParser):
    """Collect the headings of a page, and the targets and sources of its links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.identifiers: list[str] = []
        self.targets: list[str] = []
        self.is_inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.is_inside = tag in ("h2", "h3")
        self.headings += [""] if self.is_inside else []
        self.identifiers += [found["id"]] if found.get("id") else []
        self.targets += [found["href"][1:]] if (found.get("href") or "").startswith("#") else []

    def handle_data(self, data: str) -> None:
        if self.is_inside:
            self.headings[-1] += data.strip()

    def handle_endtag(self, tag: str) -> None:
        self.is_inside = False


@pytest.mark.parametrize("name", KIND_EXAMPLES)
def test_what_only_classes_have_leaves_no_empty_heading(name: str) -> None:
    report = KIND_EXAMPLES[name]()
    page, text = Headings(render_html(report)), render_markdown(report)
    assert not set(page.headings) & set(OF_CLASSES)
    assert not [heading for heading in OF_CLASSES if f"## {heading}\n" in text]
    assert "confusion" not in list_pictures(report)
    assert len(set(page.identifiers)) == len(page.identifiers)
    assert set(page.targets) <= set(page.identifiers)
    assert not re.search(r"\bnan\b|\| None", text)


def test_points_stand_for_all_rows_and_are_at_most_500() -> None:
    few, many = (find_number_errors(name_rows(rows), write_texts(rows), make_numbers(rows)) for rows in (100, 5000))
    assert len(few.points) == 100
    assert len(many.points) <= MOST_POINTS
    assert sum(point.n for point in many.points) == 5000
    answers = make_numbers(5000)
    middle = sum(point.n * point.predicted for point in many.points) / 5000
    assert middle == pytest.approx(answers.predicted.mean())


def test_the_largest_errors_come_first_and_rows_without_error_never() -> None:
    answers = build_regression_answers([1.0, 2.0, 3.0], [1.0, 4.5, 2.0])
    found = find_number_errors(name_rows(3), write_texts(3), answers).errors
    assert [(error.row, error.difference) for error in found] == [("test/1", 2.5), ("test/2", -1.0)]


def test_each_label_is_scored_by_itself_as_scikit_learn_does() -> None:
    answers = make_label_sets()
    found = find_label_errors(name_rows(300), write_texts(300), answers, PHENOMENA, 200)
    for number, label in enumerate(found.labels):
        expected, probabilities = answers.expected[:, number], answers.probabilities[:, number]
        assert label.f1 == pytest.approx(f1_score(expected, answers.predicted[:, number]))
        assert label.average_precision == pytest.approx(average_precision_score(expected, probabilities))
        assert label.positives == expected.sum()
    common = found.labels[0]
    assert common.f1 is not None and common.f1_low is not None and common.f1_high is not None
    assert common.f1_low < common.f1 < common.f1_high


def test_a_label_that_no_row_has_has_no_score_and_no_warning() -> None:
    expected = np.zeros((30, 2), dtype=bool)
    expected[::2, 0] = True
    answers = build_multilabel_answers(expected, np.full((30, 2), 0.4))
    never = find_label_errors(name_rows(30), write_texts(30), answers, ("some", "never"), 100).labels[1]
    assert (never.positives, never.f1, never.recall, never.average_precision) == (0, None, None, None)


def test_rows_with_most_wrong_labels_say_what_was_missed_and_what_was_added() -> None:
    answers = build_multilabel_answers([[1, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.1], [0.1, 0.9, 0.1]])
    found = find_label_errors(name_rows(2), write_texts(2), answers, ("a", "b", "c"), 100)
    assert [(row.row, row.missed, row.added) for row in found.rows] == [("test/0", ["a", "c"], ["b"])]
    assert found.right == 1


def test_hard_and_easy_documents_are_never_the_same_and_short_ones_are_left_out() -> None:
    answers = make_likelihoods(60)
    found = find_hard_documents(name_rows(60), write_texts(60), answers, 128, 0.15)
    hard, easy = ({document.row for document in some} for some in (found.hardest, found.easiest))
    assert not hard & easy
    assert all(document.tokens >= found.fewest_tokens == 10 for document in (*found.hardest, *found.easiest))
    losses = [document.loss for document in found.hardest]
    assert losses == sorted(losses, reverse=True)
    assert found.easiest[0].loss == pytest.approx(min((answers.losses / answers.tokens)[answers.tokens >= 10]))


def test_documents_without_a_predicted_token_are_neither_hard_nor_easy() -> None:
    answers = build_language_answers([0.0, 3.0, 1.0], [0, 2, 2], [0, 1, 2], [0, 0, 0])
    found = find_hard_documents(name_rows(3), write_texts(3), answers, None, 0.15)
    assert [document.row for document in (*found.hardest, *found.easiest)] == ["test/1", "test/2"]


def seed(number: int, collapsed_to: str | None) -> SeedRecord:
    return SeedRecord(
        seed=number, score=0.0, dev_score=None, collapsed_to=collapsed_to, train_seconds=1.0, final_loss=None
    )


def test_nearly_equal_numbers_have_collapsed_and_different_ones_not() -> None:
    expected = [1.0, 3.0, 5.0]
    constant = build_regression_answers(expected, [3.4001, 3.4, 3.3999])
    assert find_collapse(constant, ()) == "3.4"
    assert find_collapse(build_regression_answers(expected, [3.3, 3.4, 3.5]), ()) is None
    assert find_collapse(build_regression_answers([2.0, 2.0], [3.4, 3.4]), ()) is None
    assert describe_collapse([seed(1, "3.4")], constant).startswith(
        "COLLAPSED: the model predicts 3.4 for every test row;"
    )


def test_no_label_or_the_same_labels_for_every_row_is_a_collapse() -> None:
    expected = [[1, 0], [0, 1]]
    nothing = build_multilabel_answers(expected, np.full((2, 2), 0.2))
    both = build_multilabel_answers(expected, np.full((2, 2), 0.8))
    assert find_collapse(nothing, ("a", "b")) == "no label"
    assert find_collapse(both, ("a", "b")) == "a and b"
    assert find_collapse(build_multilabel_answers(expected, [[0.8, 0.2], [0.2, 0.8]]), ("a", "b")) is None
    assert "gives every test row no label" in describe_collapse([seed(1, "no label")], nothing)
    two = describe_collapse([seed(1, "a and b"), seed(2, None)], both)
    assert two.startswith("COLLAPSED: 1 of 2 seeds say the same of every row: seed 1 (always a and b).")


def test_likelihoods_have_no_collapse() -> None:
    assert find_collapse(make_likelihoods(), ()) is None


def test_an_ensemble_is_the_mean_of_probabilities_or_numbers_and_language_models_have_none() -> None:
    classes = [build_answers([0, 1], [[first, 1 - first]] * 2) for first in (0.9, 0.3)]
    averaged = average_answers(classes)
    assert np.allclose(averaged.probabilities, [[0.6, 0.4]] * 2)
    mean = average_answers([build_regression_answers([1, 2], [0, 2]), build_regression_answers([1, 2], [2, 4])])
    assert mean.predicted.tolist() == [1, 3]
    sets = average_answers([build_multilabel_answers([[1, 0]], [[p, 0.1]]) for p in (0.4, 0.7)])
    assert sets.predicted.tolist() == [[True, False]]
    assert average_answers([make_likelihoods(), make_likelihoods(seed=1)]) is None


def test_a_perplexity_has_one_decimal_and_a_loss_three() -> None:
    assert format_score(12.3456, 11.0, 1234.5, metric="perplexity") == "12.3 (11.0 to 1,234.5)"
    assert format_score(3.21449, metric="token_loss") == "3.214"
    assert format_difference(-0.04, metric="perplexity") == "0.0"
    assert format_difference(-2.345, -3.0, -1.0, metric="perplexity") == "-2.3 (-3.0 to -1.0)"
    cells = {row.cells[0]: row.cells[1] for row in build_score_table(masked_text()).rows}
    assert cells["Perplexity ↓"].partition(" ")[0].count(".") == 1
    assert len(cells["Perplexity ↓"].partition(" ")[0].partition(".")[2]) == 1


def test_the_number_of_predicted_tokens_and_what_a_perplexity_speaks_of_are_said() -> None:
    report = masked_text()
    assert report.language is not None
    assert f"on 200 test rows ({report.language.tokens:,} predicted tokens)" in build_headline(report).sentence
    assert "masked with a probability of 15.0 %" in describe_asked(report)[0]
    assert "at most 128 tokens at once" in describe_asked(report)[0]
    assert "each from those before it" in describe_asked(causal_text_of_seeds())[0]


def test_masked_words_and_next_sentences_stand_in_one_table() -> None:
    names = [row.cells[0] for row in build_score_table(pretrained()).rows]
    assert len(names) == 5
    assert any("ext sentence" in name or "ext-sentence" in name for name in names)


def test_of_several_language_models_the_saved_seed_stands_for_all() -> None:
    report = causal_text_of_seeds()
    assert build_score_table(report).columns[:3] == ("metric", "mean over seeds", "seed 2")
    assert build_headline(report).ensemble.startswith("Seed 2 scores ")
    assert "collapsed" not in build_seed_table(report).columns
    assert len(describe_seeds(report)) == 1


def test_where_a_model_began_is_told_back_to_the_first_checkpoint() -> None:
    facts = dict(list_provenance(masked_text()))
    assert facts["began as"] == (
        "run kantaibert-small/20250304-050607 (kant-mlm: Perplexity 61.3 on 500 rows), itself from roberta from scratch"
    )
    assert "kantaibert-small/20250304-050607" in render_model_card(masked_text())


@pytest.mark.parametrize(
    ("name", "pipeline", "code"),
    [
        ("numbers", "text-classification", 'function_to_apply="none"'),
        ("label_sets", "text-classification", "top_k=None"),
        ("masked_text", "fill-mask", "{fill.tokenizer.mask_token}"),
        ("pretrained", "fill-mask", "{fill.tokenizer.mask_token}"),
        ("causal_text_of_seeds", "text-generation", "max_new_tokens=40"),
    ],
)
def test_the_card_names_the_pipeline_and_shows_code_for_it(name: str, pipeline: str, code: str) -> None:
    card = render_model_card(KIND_EXAMPLES[name]())
    assert f"pipeline_tag: {pipeline}" in card
    assert f'pipeline("{pipeline}", model="model"' in card
    assert code in card
    python = card.partition("```python\n")[2].partition("```")[0]
    compile(python, "card", "exec")


def test_a_card_of_numbers_speaks_of_no_label() -> None:
    card = render_model_card(numbers())
    assert "one of the labels" not in card
    assert "Label balance" not in card
    assert "| labels |" not in card


def test_the_difference_from_a_baseline_before_training_is_told() -> None:
    sentence = build_headline(masked_text()).sentence
    assert sentence.endswith("clearly better than the model before training and the unigram.")
    assert "label shares of train" in build_headline(label_sets()).sentence
