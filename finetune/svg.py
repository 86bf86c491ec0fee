"""What matplotlib draws, made fit to stand alone and inside a page: one font, own ids, a title, no style sheet.

Owns the changes to the XML of a picture. What is drawn is decided by `pictures`.
"""

from collections.abc import Mapping
from xml.etree import ElementTree

FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"


def recolour(picture: str, colours: Mapping[str, str]) -> str:
    """Return a tidy picture without its background, each colour replaced by another CSS value."""
    root = ElementTree.fromstring(picture)  # noqa: S314 - written by `tidy`
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


def tidy(drawn: str, name: str, title: str, description: str) -> str:
    """Return the SVG without what would leak into a page it is put in: its style sheet, ids that another picture has too, fonts."""
    root = ElementTree.fromstring(drawn)  # noqa: S314 - matplotlib wrote it just now
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
