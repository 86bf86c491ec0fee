"""What the pictures of a report promise."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest

from finetune.curve_pictures import draw_precision_recall, draw_reliability, draw_roc
from finetune.findings import Calibration, CurvePoint, Curves
from finetune.pictures import MOST_CLASSES, draw_confusion, draw_learning_curve
from finetune.records import Confusion, HistoryPoint
from finetune.svg import PAGE_COLOURS, follow_page
from finetune.wording import plain
from tests.finding_examples import build_calibration, build_curves
from tests.report_examples import build_history, five_seeds, many_classes, single_seed

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script> $x^2$ \"'& \u202e شكر 漢字 \x07"


def texts_of(picture: str) -> list[str]:
    """Return the texts drawn in a picture."""
    return ["".join(element.itertext()) for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def matrix(classes: int) -> Confusion:
    """Return a confusion of so many classes."""
    return Confusion(
        labels=[f"label {number}" for number in range(classes)],
        counts=[[row * classes + column for column in range(classes)] for row in range(classes)],
    )


def test_the_same_figures_give_the_same_bytes() -> None:
    report = five_seeds()
    assert report.confusion
    assert draw_learning_curve(report.history) == draw_learning_curve(report.history)
    assert draw_confusion(report.confusion) == draw_confusion(report.confusion)
    assert draw_reliability(build_calibration()) == draw_reliability(build_calibration())
    assert draw_roc(build_curves(), "", None) == draw_roc(build_curves(), "", None)


def test_a_user_setting_of_matplotlib_changes_no_byte_and_survives() -> None:
    import matplotlib

    before = draw_confusion(matrix(3))
    with matplotlib.rc_context({"font.size": 30.0, "svg.fonttype": "path"}):
        assert draw_confusion(matrix(3)) == before
        assert matplotlib.rcParams["font.size"] == 30.0


def test_every_count_stands_in_its_cell() -> None:
    assert {"89", "235", "61", "658"} <= set(texts_of(draw_confusion(single_seed().confusion)))  # type: ignore[arg-type]


def test_text_of_the_data_is_drawn_as_it_is() -> None:
    picture = draw_confusion(Confusion(labels=[HOSTILE, "b"], counts=[[1, 0], [0, 1]]))
    assert "<script" not in picture
    assert any(text.startswith("</text><script>") for text in texts_of(picture))
    assert draw_confusion(Confusion(labels=["$x^2$", "a$"], counts=[[1, 0], [0, 1]])).count("$x^2$") == 2


def test_a_label_cannot_set_a_colour_or_an_id() -> None:
    label = 'id="a" #ffffff'
    assert label in texts_of(follow_page(draw_confusion(Confusion(labels=[label, "b"], counts=[[1, 0], [0, 1]]))))


@pytest.mark.parametrize("classes", [1, 2, 12, MOST_CLASSES, MOST_CLASSES + 1, 200])
def test_any_number_of_classes_gives_a_picture_of_printable_size(classes: int) -> None:
    root = ElementTree.fromstring(draw_confusion(matrix(classes)))
    assert float(root.get("width", "0")) <= 900
    assert float(root.get("height", "0")) <= 900


def test_a_matrix_of_too_many_classes_is_a_note() -> None:
    assert f"{MOST_CLASSES + 1} classes are too many" in texts_of(draw_confusion(matrix(MOST_CLASSES + 1)))[0]


def test_long_labels_are_shortened() -> None:
    confusion = many_classes().confusion
    assert confusion
    assert max(map(len, texts_of(draw_confusion(confusion)))) <= 22


def test_each_seed_has_its_line_in_the_legend() -> None:
    assert {f"seed {seed}" for seed in range(1, 6)} <= set(texts_of(draw_learning_curve(five_seeds().history)))
    assert not any(text.startswith("seed") for text in texts_of(draw_learning_curve(build_history(1))))


def test_the_dev_score_is_drawn_only_where_there_is_one() -> None:
    assert "dev score" in texts_of(draw_learning_curve(build_history(1, dev=True)))
    assert "dev score" not in texts_of(draw_learning_curve(build_history(1)))


@pytest.mark.parametrize(
    "history",
    [
        [],
        [HistoryPoint(seed=1, step=1, epoch=0.1)],
        [HistoryPoint(seed=1, step=1, epoch=0.1, loss=0.5)],
        [HistoryPoint(seed=1, step=1, epoch=0.1, loss=1e30), HistoryPoint(seed=1, step=2, epoch=0.2, loss=0.0)],
        [point for seed in range(30) for point in build_history(seed, steps=6)],
    ],
    ids=["none", "empty", "one", "huge", "thirty seeds"],
)
def test_any_history_gives_a_picture(history: list[HistoryPoint]) -> None:
    assert ElementTree.fromstring(draw_learning_curve(history)).tag == f"{SVG}svg"


def test_a_picture_alone_is_on_white_and_one_in_a_page_follows_its_colours() -> None:
    alone = draw_learning_curve(five_seeds().history)
    inside = follow_page(alone)
    assert "fill: #ffffff" in alone
    assert "var(" not in alone
    assert not [colour for colour in PAGE_COLOURS if colour in inside]
    assert "var(--ink)" in inside
    assert "#000000" not in alone


def test_two_pictures_in_a_page_share_no_id_and_bring_no_style_sheet() -> None:
    report = five_seeds()
    assert report.confusion
    ids = [
        {element.get("id") for element in ElementTree.fromstring(picture).iter() if element.get("id")}
        for picture in (
            draw_learning_curve(report.history),
            draw_confusion(report.confusion),
            draw_reliability(build_calibration()),
            draw_roc(build_curves(), "", report.confusion),
            draw_precision_recall(build_curves(), "", report.confusion),
        )
    ]
    assert all(ids)
    assert sum(map(len, ids)) == len(set.union(*ids))
    assert "<style" not in draw_confusion(report.confusion)


def test_a_picture_says_what_it_shows_to_those_who_do_not_see_it() -> None:
    picture = draw_confusion(single_seed().confusion)  # type: ignore[arg-type]
    root = ElementTree.fromstring(picture)
    named = root.get("aria-labelledby", "").split()
    found = {element.get("id"): element.text for element in root.iter()}
    assert root.get("role") == "img"
    assert [found[name] for name in named] == [
        "Confusion matrix",
        "2 classes, 1,043 rows, 747 of them on the diagonal of right predictions.",
    ]


def hints_of(picture: str) -> list[str]:
    """Return what a picture says under the pointer, in the order drawn."""
    root = ElementTree.fromstring(picture)
    return ["".join(title.itertext()) for title in root.iter(f"{SVG}title")][1:]


def test_every_point_of_a_curve_says_its_threshold_and_rates_under_the_pointer() -> None:
    curves = build_curves(points=50)
    picture = draw_roc(curves, "ROC AUC 0.687", Confusion(labels=["no", "yes"], counts=[[89, 235], [61, 658]]))
    points = [
        f"threshold {point.threshold:.3f}: false positive rate {point.x:.3f}, true positive rate {point.y:.3f}"
        for point in curves.roc
    ]
    at = f"as predicted: false positive rate {235 / 324:.3f}, true positive rate {658 / 719:.3f}"
    assert hints_of(picture) == ["guessing", *points, at]
    assert "ROC AUC 0.687" in texts_of(picture)


def test_the_marks_of_a_curve_stand_where_its_points_are() -> None:
    curves = build_curves(points=50)
    root = ElementTree.fromstring(draw_precision_recall(curves, "", None))
    marks = [element for element in root.iter(f"{SVG}use") if element.find(f"{SVG}title") is not None]
    across, up = ([float(mark.get(side, "")) for mark in marks] for side in ("x", "y"))
    assert len(marks) == 50
    for measured, drawn, sign in (("x", across, 1), ("y", up, -1)):
        values = [getattr(point, measured) for point in curves.precision_recall]
        scale = (drawn[-1] - drawn[0]) / (values[-1] - values[0])
        assert sign * scale > 0
        for value, place in zip(values, drawn, strict=True):
            assert place == pytest.approx(drawn[0] + scale * (value - values[0]), abs=0.01)


def test_guessing_is_the_prevalence_under_precision_and_recall() -> None:
    assert hints_of(draw_precision_recall(build_curves(), "", None))[0] == "guessing: precision 0.689"


def test_every_bin_says_its_rows_and_interval_under_the_pointer() -> None:
    hints = hints_of(draw_reliability(build_calibration()))
    first = "0.500 to 0.600: 118 rows, mean probability 0.552, share right 0.559 (0.469 to 0.646)"
    assert hints.count(first) == 2
    assert len(hints) == 2 * 5
    assert {"118", "214", "347", "288", "76"} <= set(texts_of(draw_reliability(build_calibration())))


@pytest.mark.parametrize(
    "counts", [[[0, 324], [0, 719]], [[324, 0], [719, 0]], [[0, 0], [3, 4]], [[3, 4], [0, 0]]], ids=range(4)
)
def test_labels_that_have_no_rate_have_no_ring(counts: list[list[int]]) -> None:
    confusion = Confusion(labels=["no", "yes"], counts=counts)
    has_both_labels = all(sum(row) for row in counts)
    has_positive_predictions = any(row[1] for row in counts)
    assert ("as predicted" in draw_roc(build_curves(), "", confusion)) == has_both_labels
    shown = "as predicted" in draw_precision_recall(build_curves(), "", confusion)
    assert shown == (has_both_labels and has_positive_predictions)


def test_one_bin_and_one_point_are_drawn() -> None:
    calibration = build_calibration()
    alone = Calibration(binning="one", error=0.1, bins=calibration.bins[-1:])
    assert len(hints_of(draw_reliability(alone))) == 2
    point = [CurvePoint(x=0.0, y=1.0, threshold=0.5)]
    curves = Curves(positive="yes", prevalence=1.0, roc=point, precision_recall=point)
    assert len(hints_of(draw_roc(curves, "", None))) == len(hints_of(draw_precision_recall(curves, "", None))) == 2


def test_a_hint_cannot_become_markup() -> None:
    curves = build_curves(positive=HOSTILE)
    picture = draw_roc(curves, plain(HOSTILE), None)
    assert "<script" not in picture
    assert plain(HOSTILE) in "".join(ElementTree.fromstring(picture).itertext())


def test_importing_the_module_loads_no_matplotlib_and_no_torch() -> None:
    heavy = "{'matplotlib', 'torch', 'transformers', 'datasets'}"
    code = f"import sys, finetune.curve_pictures, finetune.render; print({heavy} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "set()"
    )
