"""What a rendered comparison promises, whatever stands in the data."""

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from finetune import compared_row_tables as row_tables
from finetune import comparison_sentences as sentences
from finetune import comparison_tables as tables
from finetune.comparison_records import Comparison
from finetune.render_comparison import (
    LONGEST_TEXT_IN_MARKDOWN,
    render_console,
    render_html,
    render_markdown,
    write_comparison,
)
from finetune.report_tables import Table
from finetune.run_dir import RunDir
from finetune.wording import format_difference, format_p, format_score_value, plain
from tests.comparison_examples import compare_quickly, draw_expected, draw_probabilities, write_pair, write_run
from tests.test_render import ATTRIBUTES, ELEMENTS, HOSTILE, NUMBER, Page, source_of, write_every_number


def compare_single_seeds(folder: Path) -> Comparison:
    """Compare two runs of one seed."""
    return compare_quickly(write_pair(folder, 300, (0.8, 1.0)))


def compare_several_seeds(folder: Path) -> Comparison:
    """Compare two runs of three seeds, of which one collapsed."""
    expected = draw_expected(300)
    collapse = "COLLAPSED: 1 of 3 seeds predict one class only: seed 3 (always 'acceptable')."
    return compare_quickly(
        [
            write_run(
                folder / name,
                expected,
                [draw_probabilities(expected, 1.0, base + seed) for seed in range(3)],
                collapse=said,
            )
            for base, (name, said) in enumerate({"first": "", "second": collapse}.items())
        ]
    )


def compare_three_runs(folder: Path) -> Comparison:
    """Compare three runs with different numbers of seeds, settings and machines, in groups of rows, of three labels."""
    generator = np.random.default_rng(1)
    expected = generator.integers(0, 3, 300)
    labels, groups = ("no", "perhaps", "yes"), [f"author {number // 5}" for number in range(300)]
    runs = []
    for number, (name, seeds) in enumerate({"small": 1, "middle": 2, "large": 1}.items()):
        by_seed = [generator.dirichlet(np.ones(3), 300) + number * np.eye(3)[expected] for _ in range(seeds)]
        runs.append(
            write_run(
                folder / name,
                expected,
                [some / some.sum(axis=1, keepdims=True) for some in by_seed],
                labels=labels,
                groups=groups,
                metrics=("matthews_correlation", "accuracy", "log_loss", "roc_auc"),
                recipe={"task": "own", "train": {"learning_rate": 10.0 ** -(3 + number)}},
                provenance={"device": f"machine {number}", "tokens_per_second": None, "train_seconds": 0.0},
            )
        )
    return compare_quickly(runs)


def compare_where_undefined(folder: Path) -> Comparison:
    """Compare two runs on rows of one label."""
    expected = np.ones(40, dtype=np.int64)
    return compare_quickly(
        [
            write_run(folder / name, expected, [draw_probabilities(expected, 1.0, seed)], with_rows=False)
            for seed, name in enumerate("ab")
        ]
    )


BUILDERS: dict[str, Callable[[Path], Comparison]] = {
    "single seeds": compare_single_seeds,
    "several seeds": compare_several_seeds,
    "three runs": compare_three_runs,
    "undefined": compare_where_undefined,
}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """Return a comparison of each kind."""
    return {name: build(tmp_path_factory.mktemp("runs")) for name, build in BUILDERS.items()}


@pytest.fixture(params=BUILDERS)
def comparison(request: pytest.FixtureRequest, examples: dict[str, Comparison]) -> Comparison:
    """Return one of the comparisons after the other."""
    return examples[request.param]


def show(comparison: Comparison, width: int = 100) -> str:
    """Return what a terminal without colours shows."""
    stream = io.StringIO()
    Console(file=stream, width=width).print(render_console(comparison))
    return stream.getvalue()


def list_tables(comparison: Comparison, longest_text: int | None = None) -> list[Table]:
    """Return every table that HTML and Markdown show."""
    found = [tables.build_score_table(comparison), tables.build_cost_table(comparison)]
    found += [tables.build_verdict_table(comparison)] if len(comparison.pairs) > 1 else []
    found += [table] if (table := tables.build_setting_table(comparison)).rows else []
    for pair in comparison.pairs:
        found += [tables.build_difference_table(pair), row_tables.build_mcnemar_table(pair)]
        found += row_tables.build_example_tables(pair, longest_text)
    return found


def list_sentences(comparison: Comparison) -> list[str]:
    """Return everything that is said beside the tables."""
    found = [*sentences.list_alarms(comparison), *map(plain, comparison.warnings), *sentences.list_methods(comparison)]
    found += [value for _, value in sentences.list_facts(comparison)]
    for pair in comparison.pairs:
        found += [sentences.write_verdict(pair), plain(pair.basis)]
        found += [sentences.describe_agreement(comparison, pair), sentences.describe_mcnemar(comparison, pair)]
    return found


def test_every_figure_and_sentence_is_the_same_string_in_html_and_markdown(comparison: Comparison) -> None:
    page, markdown = Page(render_html(comparison)).text, source_of(render_markdown(comparison))
    for text, longest in ((page, None), (markdown, LONGEST_TEXT_IN_MARKDOWN)):
        for table in list_tables(comparison, longest):
            assert not [cell for row in table.rows for cell in row.cells if cell not in text]
            assert not [column for column in table.columns if column not in text]
        assert not [sentence for sentence in list_sentences(comparison) if sentence not in text]


def test_the_console_shows_the_same_verdicts_and_figures(comparison: Comparison) -> None:
    shown = " ".join(show(comparison, 300).split())
    for pair in comparison.pairs:
        assert sentences.write_verdict(pair) in shown
        assert plain(pair.basis) in shown
    for warning in comparison.warnings:
        assert warning in shown
    for alarm in sentences.list_alarms(comparison):
        assert alarm in shown
    if len(comparison.runs) > 2:
        wanted = [tables.build_metric_table(comparison), tables.build_verdict_table(comparison)]
        cells = [cell for table in wanted for row in table.rows for cell in row.cells]
    else:
        cells = [cell for row in tables.build_score_table(comparison).rows for cell in row.cells]
        table = tables.build_difference_table(comparison.pairs[0])
        cells += [row.cells[column] for row in table.rows for column in (0, 1, 4, len(table.columns) - 1)]
        assert sentences.describe_agreement(comparison, comparison.pairs[0]) in shown
        assert sentences.describe_mcnemar(comparison, comparison.pairs[0]) in shown
    assert not [cell for cell in cells if cell not in shown]


def test_the_console_keeps_within_a_hundred_letters(comparison: Comparison) -> None:
    assert max(map(len, show(comparison).splitlines())) <= 100


def test_the_p_value_of_the_console_is_that_of_the_verdict(examples: dict[str, Comparison]) -> None:
    for name, title in (("single seeds", "p, randomisation"), ("several seeds", "p, seeds and rows")):
        pair = examples[name].pairs[0]
        table = tables.build_difference_table(pair)
        assert table.columns[4] == title
        assert table.rows[0].cells[4] == format_p(pair.p_value)


def test_every_number_in_a_table_is_one_of_the_record_to_the_printed_digits(comparison: Comparison) -> None:
    record = json.loads(comparison.model_dump_json())
    known = write_every_number(record)
    for run in record["runs"]:
        # In other units or digits than the record's.
        known |= {f"{run['tokens_per_second'] or 0:,.1f}", f"{run['peak_memory_megabytes']:,.0f}"}
        known |= {str(number) for number in divmod(round(run["train_seconds"]), 60)}
    known |= {
        str(pair["differing"] - pair["mcnemar"]["only_first"] - pair["mcnemar"]["only_second"])
        for pair in record["pairs"]
    }
    for table in list_tables(comparison):
        strange = {
            number
            for row in table.rows
            for cell in row.cells
            for number in NUMBER.findall(cell)
            if number.rstrip(",") not in known
        }
        assert not strange, table.caption


def test_figures_stand_in_the_row_and_column_of_their_name(examples: dict[str, Comparison]) -> None:
    for comparison in examples.values():
        for pair in comparison.pairs:
            table = tables.build_difference_table(pair)
            for row, entry in zip(table.rows, pair.differences, strict=True):
                by_title = dict(zip(table.columns, row.cells, strict=True))
                if entry.difference is None:
                    assert by_title["difference"] == f"undefined ({entry.reason})"
                    continue
                seeds = (
                    (entry.seeds_low, entry.seeds_high) if pair.test == "seeds and rows" else (entry.low, entry.high)
                )
                assert by_title["difference"].startswith(format_difference(entry.difference, *seeds))
                assert by_title[pair.first] == format_score_value(entry.first or 0)
                assert by_title[pair.second] == format_score_value(entry.second or 0)
                assert by_title["p, bootstrap"] in (format_p(entry.p_bootstrap), "–")
                assert ("p, randomisation" in by_title) == any(some.p_randomisation for some in pair.differences)
            counts = row_tables.build_mcnemar_table(pair).rows
            assert [cell for row in counts for cell in row.cells[1:]] == [
                str(count)
                for count in (
                    pair.mcnemar.both_right,
                    pair.mcnemar.only_first,
                    pair.mcnemar.only_second,
                    pair.mcnemar.both_wrong,
                )
            ]


def test_all_differing_rows_are_in_one_of_the_tables(comparison: Comparison) -> None:
    for pair in comparison.pairs:
        shown = [row.cells[0] for table in row_tables.build_example_tables(pair) for row in table.rows]
        assert sorted(shown) == sorted(row.row for row in pair.examples)
        for table in row_tables.build_example_tables(pair):
            assert ("text" in table.columns) == any(row.text for row in pair.examples)


def test_a_collapsed_run_is_named_before_anything_else(examples: dict[str, Comparison]) -> None:
    comparison = examples["several seeds"]
    (alarm,) = sentences.list_alarms(comparison)
    assert alarm.startswith("second: COLLAPSED: 1 of 3 seeds")
    page = render_html(comparison)
    assert Page(page[page.index("<body") :]).text.startswith(alarm)
    assert source_of(render_markdown(comparison)).startswith(f"> [!CAUTION]\n> **{alarm}")
    assert show(comparison, 200).strip("┏━┓ \n┃").startswith(alarm)


def test_methods_name_groups_corrections_and_seeds_where_there_are_such(examples: dict[str, Comparison]) -> None:
    said = {name: " ".join(sentences.list_methods(comparison)) for name, comparison in examples.items()}
    assert "resamples of groups of rows" in said["three runs"] and "answers to each group" in said["three runs"]
    assert "Holm's method for the 3 pairs" in said["three runs"]
    assert "resamples of rows;" in said["single seeds"] and "answers to each row" in said["single seeds"]
    assert "Holm" not in said["single seeds"]
    assert [name for name, text in said.items() if "Welch's test" in text] == ["several seeds"]
    grouped = examples["three runs"]
    assert "The rows come in groups" in sentences.describe_mcnemar(grouped, grouped.pairs[0])
    single = examples["single seeds"]
    assert "groups" not in sentences.describe_mcnemar(single, single.pairs[0])


def test_the_picture_of_the_differences_has_zero_in_its_middle(examples: dict[str, Comparison]) -> None:
    comparison = examples["single seeds"]
    page = render_html(comparison)
    entry = comparison.pairs[0].differences[0]
    forest = page[page.index('<ul class="forest">') : page.index('<p class="axis"')]
    places = {name: float(place) for name, place in re.findall(r'class="(dot|whisker)" style="left:([\d.]+)%', forest)}
    width = float(re.findall(r'class="whisker" style="left:[\d.]+%;width:([\d.]+)%', forest)[0])
    assert entry.difference is not None and entry.low is not None and entry.high is not None
    reach = 1.06 * max(abs(entry.low), abs(entry.high))
    assert places["dot"] == pytest.approx(50 * (1 + entry.difference / reach), abs=0.01)
    assert places["whisker"] == pytest.approx(50 * (1 + entry.low / reach), abs=0.01)
    assert width == pytest.approx(50 * (entry.high - entry.low) / reach, abs=0.02)
    assert "Right of the line, the first named is better" in page
    assert 'class="zero"' in forest


def test_of_a_loss_the_left_side_is_better(tmp_path: Path) -> None:
    page = render_html(compare_quickly(write_pair(tmp_path, 60), metric="log_loss"))
    assert "Left of the line, the first named is better" in page


def test_the_page_is_well_formed_and_loads_nothing(comparison: Comparison) -> None:
    text = render_html(comparison)
    page = Page(text)
    assert not page.unbalanced and not page.open
    assert page.elements.count("h1") == 1
    assert page.elements.count("caption") == page.elements.count("table")
    assert set(page.elements) <= ELEMENTS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    pointers = [value for name, value in page.attributes if name in ("href", "src", "action", "srcset")]
    assert all(pointer.startswith("#") and pointer[1:] in ids for pointer in pointers)
    assert not re.search(r"@import|url\((?!#)", text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    assert ("content", policy) in page.attributes


def test_every_pair_metric_and_row_has_its_place(examples: dict[str, Comparison]) -> None:
    comparison = examples["three runs"]
    ids = {value for name, value in Page(render_html(comparison)).attributes if name == "id"}
    assert {"result", "scores", "cost", "settings", "methods", "provenance"} <= ids
    assert {"pair--small--middle", "verdict--small--middle", "difference--small--middle--accuracy"} <= ids
    assert {"score--accuracy", "setting--train-learning_rate-" + _digest("train.learning_rate")} <= ids
    for table in list_tables(comparison):
        assert {table.anchor, *(row.anchor for row in table.rows if row.anchor)} <= ids


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def test_tables_whose_rows_are_of_one_kind_can_be_sorted(examples: dict[str, Comparison]) -> None:
    page = render_html(examples["single seeds"])
    captions = re.findall(r'<table class="[^"]*sortable">\s*<caption>([^<]*)', page)
    assert [caption.strip() for caption in captions[:2]] == [
        "Every metric on the 300 rows",
        "second minus first, every metric",
    ]
    assert "Rows by which run is right" not in captions


FREE_TEXT = frozenset(
    "name path task collapse checkpoint device precision first second verdict basis answers row text expected rows fingerprint "
    "resampling command created reason".split()
)


def put_everywhere(record: Any, text: str, key: str = "") -> Any:
    """Return a JSON value with the text in place of every text that data, recipes or machines may decide."""
    if isinstance(record, dict):
        of_data = key in ("settings", "versions")
        return {text: text} if of_data else {name: put_everywhere(value, text, name) for name, value in record.items()}
    if isinstance(record, list):
        return [put_everywhere(value, text, key) for value in record]
    is_free = key in FREE_TEXT or key in ("labels", "notes", "warnings")
    # Names of metrics, of which a score has one too, are ours.
    return text if isinstance(record, str) and record and is_free else record


@pytest.fixture(scope="module")
def hostile_base(examples: dict[str, Comparison]) -> dict[str, Any]:
    """Return a record that has every kind of text, with a name in each place where one may be."""
    record = examples["several seeds"].model_dump(mode="json")
    for run in record["runs"]:
        run["settings"] = {"train.learning_rate": "1"}
    record["warnings"] = ["warning"]
    return record


def with_text(base: dict[str, Any], text: str) -> Comparison:
    """Return a comparison in which a text stands everywhere, but for names of metrics."""
    record = put_everywhere(base, text)
    for run, own in zip(record["runs"], base["runs"], strict=True):
        for kind in ("scores", "seed_summaries"):
            for entry, old in zip(run[kind], own[kind], strict=True):
                entry["name"] = old["name"]
    # Rows of a pair are different ones.
    for pair in record["pairs"]:
        for number, row in enumerate(pair["examples"]):
            row["row"] = f"{text}{number}"
    return Comparison.model_validate(record)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_the_data_becomes_markup(hostile_base: dict[str, Any], text: str) -> None:
    comparison = with_text(hostile_base, text)
    page = Page(render_html(comparison))
    assert set(page.elements) <= ELEMENTS
    assert {name for name, _ in page.attributes} <= ATTRIBUTES
    assert not page.unbalanced and not page.open
    harmless = Page(render_html(with_text(hostile_base, "harmless")))
    folded = {"details", "summary"}
    assert [tag for tag in page.elements if tag not in folded] == [
        tag for tag in harmless.elements if tag not in folded
    ]
    assert plain(text) in page.text
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")

    def kinds(source: str) -> list[str]:
        found = []
        for token in markdown.parse(source):
            found.append(token.type + (token.content if token.type == "html_block" else ""))
            found += [child.type for child in token.children or [] if child.type != "text"]
        return found

    assert kinds(render_markdown(comparison)) == kinds(render_markdown(with_text(hostile_base, "harmless")))
    console = show(comparison)
    assert not [letter for letter in console if letter != "\n" and not letter.isprintable()]


def test_a_page_of_twenty_rows_a_pair_is_rendered_in_a_second(examples: dict[str, Comparison]) -> None:
    comparison = examples["single seeds"]
    render_html(comparison)
    began = time.process_time()
    page = render_html(comparison)
    render_markdown(comparison)
    assert time.process_time() - began < 1
    assert len(page) < 200_000


def test_the_files_are_the_record_and_what_is_rendered_from_it(tmp_path: Path, examples: dict[str, Comparison]) -> None:
    comparison = examples["single seeds"]
    write_comparison(comparison, RunDir(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"comparison.json", "comparison.md", "comparison.html"}
    assert Comparison.model_validate_json((tmp_path / "comparison.json").read_text(encoding="utf-8")) == comparison
    assert (tmp_path / "comparison.html").read_text(encoding="utf-8") == render_html(comparison)
    assert (tmp_path / "comparison.md").read_text(encoding="utf-8") == render_markdown(comparison)
