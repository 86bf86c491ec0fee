"""From what matplotlib draws to SVG text that can stand alone and inside a page: own colours, one font, a title, texts to hover.

Owns the looks that all pictures share and the changes to their XML. What is drawn is decided by `pictures` and `curve_pictures`. Drawn
twice from the same figures, a picture has the same bytes. matplotlib is imported on first use, since it takes a second.
"""

import io
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
INK, MUTED, LINE, SURFACE = "#1b1f24", "#59626d", "#dde1e6", "#ffffff"
SERIES = ("#2a63c6", "#bd5510", "#1d7a4c", "#7a48b5", "#b5306b", "#0d7284")
PAGE_COLOURS = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    SURFACE: "--surface",
    **{colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)},
}
"""Which custom property of the page takes the place of each colour."""


def follow_page(picture: str) -> str:
    """Return a picture made by `render_figure` for use inside a page: no background, and the colours of the page's theme."""
    return _recolour(picture, {colour: f"var({name})" for colour, name in PAGE_COLOURS.items()})


def render_figure(
    draw: "Callable[[Figure, int, int], None]",
    width: int,
    height: int,
    name: str,
    title: str,
    description: str,
    hints: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Return the SVG of a figure in pixels, with a title and a description for those who don't see it.

    `hints` are {gid of an artist: a text for each of its marks}, shown by browsers under the pointer.
    """
    stream = io.StringIO()
    with _own_settings(name):
        from matplotlib.figure import Figure

        # At 72 dots an inch, points, pixels and the units of the SVG are one.
        figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor=SURFACE)
        draw(figure, width, height)
        for axes in figure.axes:
            axes.patch.set_visible(False)
        figure.savefig(
            stream, format="svg", facecolor=SURFACE, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return _tidy(stream.getvalue(), name, title, description, hints or {})


@contextmanager
def _own_settings(salt: str) -> Generator[None, None, None]:
    """Draw with matplotlib's defaults and ours, whatever the user's own settings are, and leave those as they were."""
    import matplotlib

    ours: dict[Any, Any] = {
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans"],
        "font.size": 11,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The measuring font lacks many scripts; the reader's browser has fonts for them.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        warnings.filterwarnings("ignore", message=".*(Matplotlib currently does not support|missing from).*")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield


def style_axes(axes: "Axes", grid: Literal["both", "x", "y"] = "y") -> None:
    """Give axes the looks of all pictures: a quiet grid behind the data, a bottom line, no ticks."""
    axes.grid(axis=grid, color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6, colors=MUTED)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)


def _recolour(picture: str, colours: Mapping[str, str]) -> str:
    """Return a picture without its background, each colour replaced by another CSS value."""
    root = ElementTree.fromstring(picture)  # noqa: S314 - written by `_tidy`
    for element in root.iter():
        if element.get("class") == "background":
            element.set("style", "fill: none")
        # Only styles, since a label may be spelt like a colour.
        style = element.get("style", "")
        for before, after in colours.items():
            style = style.replace(before, after)
        if style:
            element.set("style", style)
    return _to_text(root)


def _tidy(drawn: str, name: str, title: str, description: str, hints: Mapping[str, Sequence[str]]) -> str:
    """Return the SVG without what would leak into a page it is put in: its style sheet, ids that another picture has too, fonts."""
    root = ElementTree.fromstring(drawn)  # noqa: S314 - matplotlib wrote it just now
    for element in list(root.iter()):
        if (texts := hints.get(element.get("id", ""))) is not None:
            _hint(element, texts)
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


def _hint(artist: ElementTree.Element, texts: Sequence[str]) -> None:
    """Put a text under the pointer into each mark of an artist, which matplotlib draws in the order of its data."""
    artist.set("class", "hints")
    marks = artist.findall(f".//{{{SVG}}}use") or artist.findall(f".//{{{SVG}}}path")
    for mark, text in zip(marks, texts, strict=True):
        ElementTree.SubElement(mark, f"{{{SVG}}}title").text = text


def _describe(root: ElementTree.Element, name: str, title: str, description: str) -> None:
    width, height = (root.get(side, "").removesuffix("pt") for side in ("width", "height"))
    root.attrib.update(
        {
            "width": width,
            "height": height,
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-description",
            "style": f"font-family: {FONTS}; stroke-linejoin: round; stroke-linecap: butt",
        }
    )
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(
            f"{{{SVG}}}{tag}", {"id": f"{name}-{'title' if tag == 'title' else 'description'}"}
        )
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
