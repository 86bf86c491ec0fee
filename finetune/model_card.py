"""The card of a fitted model: what it is, what it is for and not for, how it was made and how well it does.

Owns what the card says to people; its figures are the strings of `wording`, `report_tables` and `report_facts`, and what it says to the
hub is `model_index`. The headings are those of the hub's annotated model card, after Mitchell et al. 2019, "Model Cards for Model
Reporting".
"""

import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from finetune import report_facts as facts
from finetune import report_tables as tables
from finetune.card_examples import find_texts, write_command_text, write_python
from finetune.headline import build_headline
from finetune.markup import markdown_environment
from finetune.model_index import build_card_data, find_own_decision, find_own_predictor, find_own_score
from finetune.record_files import write_text
from finetune.records import Report
from finetune.resolved import render_yaml
from finetune.run_dir import RunDir
from finetune.scores import pick
from finetune.wording import (
    count_of,
    format_count,
    format_difference,
    format_p,
    format_score_value,
    list_words,
    main_predictor,
    metric_title,
    plain,
    visible,
    write_score,
)

NO_LICENCE = "not stated; it follows from those of the checkpoint and of the training data"
CLASSIFIERS = ("classification", "next_sentence", "multilabel", "prompting", "minimal_pairs")
COST = ("whole run", "training", "examples", "peak memory", "device", "processes", "threads", "precision")
# The folders of an absolute path; `/` within an address, or behind `.` or `$NAME`, begins none.
_FOLDERS = re.compile(r"(?<![\w.:/$])[~/][^,'\"{}\n]*/")


def write_model_card(report: Report, run_dir: RunDir) -> None:
    """Write the card beside the model of a run, where it has a model.

    Raises:
        StorageError: the disk is full or failed.
    """
    if run_dir.model.is_dir():
        write_text(run_dir.model_card, render_model_card(report))


def render_model_card(report: Report, repository: str | None = None) -> str:
    """Return the card as Markdown with YAML at its head.

    Its examples load the model from the hub's `repository` (owner/name), or from the run's folder where that is None.
    """
    body = markdown_environment().get_template("model_card.md.j2").render(_build_view(report, repository))
    return f"---\n{build_card_data(report).to_yaml()}\n---\n\n" + re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"


def _build_view(report: Report, repository: str | None) -> dict[str, Any]:
    """Return what the template shows; all text of the data in it is plain text on one line, the recipe apart."""
    made = [(name, _without_folders(value)) for name, value in facts.list_provenance(report)]
    use, misuse = _describe_use(report)
    return {
        "name": plain(report.name),
        "title": plain(report.title),
        "alarms": [plain(report.collapse)] if report.collapse else [],
        "headline": build_headline(report),
        "own_score": _say_whose_weights(report),
        "details": _list_details(report, dict(made)),
        "repository": repository,
        "code": _build_code(report, repository),
        "decision": _say_decision(report),
        "undecided": _say_undecided(report),
        "use": use,
        "misuse": misuse,
        "gives_probabilities": report.objective in CLASSIFIERS,
        "data_facts": facts.list_data_facts(report),
        "splits": facts.build_split_table(report),
        "label_balance": facts.build_label_table(report),
        "fingerprints": [fact for fact in facts.list_fingerprints(report) if fact[0].startswith("fingerprint of")],
        "is_trained": report.recipe.get("train") is not None,
        "settings": visible(render_yaml(_shown_settings(report.recipe))).rstrip(),
        "scores": tables.build_score_table(report),
        "summary": tables.build_summary_table(report),
        "slices": _build_differing_slices(report),
        "warnings": [plain(warning) for warning in report.warnings],
        "limits": _list_limits(report),
        "cost": [(name, value) for name, value in made if name in COST],
        "provenance": [(name, value) for name, value in made if name not in COST],
    }


def _say_whose_weights(report: Report) -> str:
    """Return the sentence on the saved weights among several seeds; empty for a single seed."""
    own = find_own_score(report, report.primary_metric)
    if len(report.seeds) == 1 or own is None:
        return ""
    whose = f"The weights here are those of seed {report.saved_seed}, {plain(report.saved_because)}"
    return f"{whose}; alone they score {metric_title(own.name)} {write_score(own)}."


def _list_details(report: Report, made: dict[str, str]) -> list[tuple[str, str]]:
    return [
        ("task", plain(report.task)),
        *([("labels", ", ".join(map(plain, report.data.labels)))] if report.data.labels else []),
        ("began as", made.get("began as", made["checkpoint"])),
        ("parameters", made["parameters"]),
        ("saved weights", made["saved model"]),
        ("licence", NO_LICENCE),
    ]


def _build_code(report: Report, repository: str | None) -> dict[str, Markup]:
    """Return the words of the examples, which are code and shown as such: none of them is text of the data."""
    model = repository or RunDir(Path()).model.name
    words = {
        "model": model,
        "python": write_python(report, model),
        "text": write_command_text(find_texts(report)),
        "report": RunDir(Path()).report.name,
    }
    return {name: Markup(word) for name, word in words.items()}  # noqa: S704


def _describe_use(report: Report) -> tuple[str, str]:
    """Return what the model can be used for, and what must not be made of its answers."""
    labels = list_words([f"'{plain(label)}'" for label in report.data.labels])
    calibration = find_own_score(report, "expected_calibration_error")
    on_test = f"; on the test rows, {metric_title(calibration.name)} {write_score(calibration)}" if calibration else ""
    probabilities = f"Its probabilities taken at their word{on_test}."
    likely = "What it finds likely taken for true, or for right."
    uses = {
        "regression": ("Giving texts like those it was trained on a number", "Its numbers taken for measurements."),
        "multilabel": (
            f"Telling which of the labels {labels} hold for texts like those it was trained on",
            probabilities,
        ),
        "masked_lm": ("Filling masked words in texts like those it was trained on", likely),
        "pretraining": ("Filling masked words in texts like those it was trained on", likely),
        "causal_lm": ("Going on from texts like those it was trained on, and telling how likely a text is", likely),
        "minimal_pairs": ("Telling which of two sentences is likelier", likely),
        "prompting": (f"Answering the prompt of the recipe with one of the labels {labels}", probabilities),
    }
    usual = (f"Giving texts like those it was trained on one of the labels {labels}", probabilities)
    return uses.get(report.objective, usual)


def _say_decision(report: Report) -> str:
    """Return what was fitted on dev to the outputs of the saved weights; empty where nothing was."""
    found = find_own_decision(report)
    if found is None:
        return ""
    parts = []
    if found.temperature is not None:
        parts.append(f"a temperature of {format_score_value(found.temperature)}, which divides the model's outputs")
    if found.threshold is not None:
        positive, aim = plain(report.data.labels[1]), f" ({plain(found.chosen_for)})" if found.chosen_for else ""
        lowest = f"the lowest probability of '{positive}' at which it is the answer"
        parts.append(f"a threshold of {format_score_value(found.threshold)}{aim}, {lowest}")
    return f"finetune predict applies what was fitted on {count_of(found.dev_rows, 'dev row')}: {', and '.join(parts)}."


def _say_undecided(report: Report) -> str:
    """Return the score without temperature and threshold, where the report holds it for the saved weights."""
    found = pick(report.undecided, report.primary_metric, predictor=find_own_predictor(report))
    return f"So it scores {metric_title(found.name)} {write_score(found)} on the test rows." if found else ""


def _build_differing_slices(report: Report) -> tables.Table:
    """Return the slices that differ from the rest beyond noise, and in the note how many were looked at."""
    metric, predictor = metric_title(report.primary_metric), main_predictor(report)
    rows = [
        tables.Row(
            (
                plain(test.slice),
                format_count(test.n),
                write_score(pick(report.scores, report.primary_metric, test.slice, predictor)),
                format_difference(test.difference, metric=report.primary_metric),
                format_p(test.p_adjusted),
            )
        )
        for test in report.slice_tests
        if test.is_flagged
    ]
    looked_at = count_of(len(report.slice_tests), "slice")
    note = f"{looked_at} {'was' if len(report.slice_tests) == 1 else 'were'} compared with all other rows; p after Holm's correction."
    if not rows:
        note = f"{looked_at} compared with all other rows: none differs beyond noise, after Holm's correction."
    if not report.slice_tests:
        note = ""
    columns = ("slice", "n", metric, "difference to the rest", "p")
    return tables.Table("Slices that differ from the rest beyond noise", columns, tuple(rows), "lrlrr", note)


def _list_limits(report: Report) -> list[str]:
    """Return what is true of the model whatever its rows hold."""
    found = ["What its checkpoint learnt before, its biases among it, was not measured."]
    if len(report.seeds) == 1:
        found.append("One seed was trained; how far others would differ is not known.")
    return found


def _shown_settings(values: Any) -> Any:
    """Return the values of a recipe that are set, without the folders of this machine."""
    if isinstance(values, dict):
        return {name: _shown_settings(value) for name, value in values.items() if value not in (None, {}, [])}
    if isinstance(values, list):
        return [_shown_settings(value) for value in values]
    return _without_folders(values) if isinstance(values, str) else values


def _without_folders(text: str) -> str:
    """Return text whose absolute paths are cut to their last name: a card is read by strangers."""
    return _FOLDERS.sub("…/", text)
