"""The pictures of a report as SVG text: the learning curve and the confusion matrix.

Owns their shapes, and the colours of a light page. Drawn twice from the same figures, a picture has the same bytes. Where a
picture stands and what is said beside it is decided by `render`. matplotlib is imported on first use, since it takes a second.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from finetune.records import Confusion, HistoryPoint
from finetune.wording import begin_sentence, format_count, format_score_value, list_words, plain, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 30
"""More classes than this can't be told apart in a matrix of printable size."""
MOST_CLASSES_WITH_COUNTS = 20
MOST_LABEL_CHARACTERS = 22
SPARSE_POINTS = 20

INK, MUTED, LINE, SURFACE = "#1b1f24", "#59626d", "#dde1e6", "#ffffff"
SERIES = ("#2a63c6", "#bd5510", "#1d7a4c", "#7a48b5", "#b5306b", "#0d7284")
PAGE_COLOURS = {INK: "--ink", MUTED: "--muted", LINE: "--line", SURFACE: "--surface",
                **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)}}
"""Which custom property of the page takes the place of each colour."""
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
# Pixels. The strongest shade still leaves the counts on it readable, on white and on black.
CHARACTER_WIDTH, STRONGEST_SHADE = 6.6, 0.5


def draw_learning_curve(history: Sequence[HistoryPoint]) -> str:
    """Return the training loss, and the dev score where there is one, over the epochs: one line a seed, 640 pixels wide."""
    seeds = sorted({point.seed for point in history})
    losses = {seed: [(point.epoch, point.loss) for point in history if point.seed == seed and point.loss is not None] for seed in seeds}
    scores = {seed: [(point.epoch, point.dev_score) for point in history if point.seed == seed and point.dev_score is not None]
              for seed in seeds}
    panels = [(name, lines) for name, lines in (("training loss", losses), ("dev score", scores)) if any(lines.values())]
    top, panel_height, bottom = 34, (210 if len(panels) < 2 else 165), 46

    def draw(figure: "Figure", width: int, height: int) -> None:
        above = None
        for number, (name, lines) in enumerate(panels):
            y = height - top - (number + 1) * panel_height - number * 26
            above = axes = figure.add_axes((58 / width, y / height, (width - 76) / width, panel_height / height), sharex=above)
            _draw_lines(axes, name, lines)
            axes.tick_params(labelbottom=number == len(panels) - 1)
        if above is not None:
            above.set_xlabel("epoch", color=MUTED)
        if len(seeds) > 1 and panels:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="upper left", ncols=min(len(seeds), 6), frameon=False,
                          bbox_to_anchor=(50 / width, 1.0), labelcolor=MUTED, handlelength=1.4, columnspacing=1.4)

    last = [values[-1][1] for values in losses.values() if values]
    said = f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}" + (
        f"; last logged loss {', '.join(format_score_value(value) for value in last[:12])}" if last else "")
    height = top + bottom + max(len(panels), 1) * panel_height + (26 if len(panels) > 1 else 0)
    return _render(draw, 640, height, "learning-curve", "Learning curve",
                   f"{begin_sentence(list_words([name for name, _ in panels]) or 'nothing logged')} over epochs, {said}.")


def _draw_lines(axes: "Axes", name: str, lines: dict[int, list[tuple[float, float]]]) -> None:
    for number, (seed, points) in enumerate(lines.items()):
        # Beyond six seeds the colours come round again, so the dashes change.
        dashes = ("-", "--", ":", "-.")[number // len(SERIES) % 4]
        axes.plot([epoch for epoch, _ in points], [value for _, value in points], color=SERIES[number % len(SERIES)], linestyle=dashes,
                  linewidth=1.6 if len(lines) == 1 else 1.2, label=f"seed {seed}",
                  marker="o" if len(points) <= SPARSE_POINTS else None, markersize=3.5)
    axes.set_title(name, loc="left", color=INK, fontsize=12, pad=8)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, colors=MUTED)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def draw_confusion(confusion: Confusion) -> str:
    """Return the matrix of expected (rows) against predicted labels; a note for more than `MOST_CLASSES` of them.

    A cell is shaded by its share of the rows that have its expected label: blue where the prediction is right, orange else.
    """
    classes = len(confusion.labels)
    if classes > MOST_CLASSES:
        return _render_note(f"{classes} classes are too many to draw; the tables list the most frequent confusions.")
    names = [shorten(plain(label), MOST_LABEL_CHARACTERS) for label in confusion.labels]
    cell = max(20.0, min(84.0, 520 / classes))
    longest = max(len(name) for name in names) * CHARACTER_WIDTH
    is_turned = longest > cell - 6
    left, below = longest + 38, (longest if is_turned else 16) + 40
    side = cell * classes

    def draw(figure: "Figure", width: int, height: int) -> None:
        axes = figure.add_axes((left / width, below / height, side / width, side / height))
        axes.set_xlim(0, classes)
        axes.set_ylim(classes, 0)
        _fill_cells(axes, confusion.counts, 13 if classes < 8 else 10 if classes < 15 else 8)
        centres = [number + 0.5 for number in range(classes)]
        axes.set_xticks(centres, labels=names, rotation=90 if is_turned else 0, parse_math=False)
        axes.set_yticks(centres, labels=names, parse_math=False)
        axes.tick_params(length=0, pad=6, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.text((left + side / 2) / width, 8 / height, "predicted", ha="center", va="bottom", color=MUTED)
        figure.text(16 / width, (below + side / 2) / height, "expected", ha="center", va="center", rotation=90, color=MUTED)

    right = sum(confusion.counts[number][number] for number in range(classes))
    rows = sum(map(sum, confusion.counts))
    return _render(draw, round(left + side + 14), round(below + side + 14), "confusion", "Confusion matrix",
                   f"{classes} classes, {format_count(rows)} rows, {format_count(right)} of them on the diagonal of right predictions.")


def _fill_cells(axes: "Axes", counts: list[list[int]], font_size: int) -> None:
    from matplotlib.patches import Rectangle

    gap = 0.015 * len(counts) ** 0.5
    for expected, row in enumerate(counts):
        for predicted, count in enumerate(row):
            share = count / sum(row) if sum(row) else 0.0
            corner, size = (predicted + gap, expected + gap), 1 - 2 * gap
            axes.add_patch(Rectangle(corner, size, size, facecolor=LINE, alpha=0.35, linewidth=0))
            axes.add_patch(Rectangle(corner, size, size, facecolor=SERIES[0 if predicted == expected else 1], linewidth=0,
                                     alpha=round(STRONGEST_SHADE * share, 3)))
            if len(counts) <= MOST_CLASSES_WITH_COUNTS and (count or len(counts) < 8):
                axes.text(predicted + 0.5, expected + 0.5, format_count(count), ha="center", va="center", color=INK, fontsize=font_size)


def _render_note(text: str) -> str:
    def draw(figure: "Figure", width: int, height: int) -> None:
        figure.text(14 / width, 0.5, text, va="center", color=MUTED)

    return _render(draw, 560, 44, "confusion", "Confusion matrix", text)


def follow_page(picture: str) -> str:
    """Return a picture made by this module for use inside a page: no background, and the colours of the page's theme."""
    root = ElementTree.fromstring(picture)
    for element in root.iter():
        if element.get("class") == "background":
            element.set("style", "fill: none")
        style = element.get("style", "")
        for colour, name in PAGE_COLOURS.items():
            style = style.replace(colour, f"var({name})")
        if style:
            element.set("style", style)
    return _to_text(root)


def _render(draw: "Callable[[Figure, int, int], None]", width: int, height: int, name: str, title: str, description: str) -> str:
    """Return the SVG of a figure in pixels, with a title and a description for those who don't see it."""
    stream = io.StringIO()
    with _own_settings(name):
        from matplotlib.figure import Figure

        # At 72 dots an inch, points, pixels and the units of the SVG are one.
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=SURFACE)
        draw(figure, width, height)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        figure.savefig(stream, format="svg", facecolor=SURFACE, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _tidy(stream.getvalue(), name, title, description)


@contextmanager
def _own_settings(salt: str) -> Iterator[None]:
    """Draw with matplotlib's defaults and ours, whatever the user's own settings are, and leave those as they were."""
    import matplotlib

    ours: dict[str, Any] = {"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": ["DejaVu Sans"], "font.size": 11}
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The measuring font lacks many scripts; the reader's browser has fonts for them.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        warnings.filterwarnings("ignore", message=".*(Matplotlib currently does not support|missing from).*")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield


def _tidy(drawn: str, name: str, title: str, description: str) -> str:
    """Return the SVG without what would leak into a page it is put in: its style sheet, ids that another picture has too, fonts."""
    root = ElementTree.fromstring(drawn)
    used = {element.get(f"{{{XLINK}}}href", "").removeprefix("#") for element in root.iter()}
    for element in root.iter():
        identifier = element.get("id", "")
        if identifier == "patch_1":
            background = element.find(f"{{{SVG}}}path")
            assert background is not None
            background.set("class", "background")
        if identifier and not (identifier in used or element.tag == f"{{{SVG}}}clipPath"):
            del element.attrib["id"]
        elif identifier:
            element.set("id", f"{name}-{identifier}")
        if reference := element.get(f"{{{XLINK}}}href"):
            element.set(f"{{{XLINK}}}href", f"#{name}-{reference.removeprefix('#')}")
        if clip := element.get("clip-path"):
            element.set("clip-path", clip.replace("url(#", f"url(#{name}-"))
        if style := element.get("style"):
            element.set("style", "; ".join(part for part in style.split("; ") if not part.startswith("font-family")))
    for defs in root.findall(f"{{{SVG}}}defs"):
        for sheet in defs.findall(f"{{{SVG}}}style"):
            defs.remove(sheet)
    _describe(root, name, title, description)
    return _to_text(root)


def _describe(root: ElementTree.Element, name: str, title: str, description: str) -> None:
    width, height = (root.get(side, "").removesuffix("pt") for side in ("width", "height"))
    root.attrib.update({"width": width, "height": height, "role": "img", "aria-labelledby": f"{name}-title {name}-description",
                        "style": f"font-family: {FONTS}; stroke-linejoin: round; stroke-linecap: butt"})
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'description'}"})
        element.text = text
        root.insert(position, element)


def _to_text(root: ElementTree.Element) -> str:
    """Return the XML with `svg` as its default namespace, without registering that for the whole process."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{SVG}}}")
        if reference := element.attrib.pop(f"{{{XLINK}}}href", None):
            element.set("xlink:href", reference)
    root.attrib.update({"xmlns": SVG, "xmlns:xlink": XLINK})
    return ElementTree.tostring(root, encoding="unicode") + "\n"
