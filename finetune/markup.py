"""How text of the data is kept from becoming markup, and what all pages have in common: style sheet, script, what they may load.

Owns the environments of the templates. What a page says is decided by whoever renders it.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).parent / "assets" / "templates"


def build_page_parts() -> dict[str, Markup]:
    """Return `css`, `script` and the content security `policy` of a page, which lets the browser load nothing and run that script only.

    The hash is that of the characters between the script's tags (Content Security Policy Level 3, section 6.7.3).
    """
    # Both files are this package's own.
    css, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("report.css", "sort.js"))  # noqa: S704
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    return {"css": css, "script": script, "policy": Markup(rules)}  # noqa: S704


@cache
def html_environment() -> "Environment":
    """Return what templates of pages are rendered with: all text is escaped, and a name that isn't given is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def markdown_environment() -> "Environment":
    """Return what templates of Markdown are rendered with: all text is shown as it stands; `fenced` makes a block of code."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=neutralise,
    )
    made.filters["fenced"] = fence
    return made


def neutralise(text: object) -> Markup:
    """Return text that Markdown shows as it stands: no emphasis, code, link, mention, heading, cell border or HTML.

    References to characters are text to Markdown wherever they stand; GitHub makes links of names and numbers after that,
    which a space without width prevents.
    """
    if isinstance(text, Markup):
        return text
    inert = re.sub(
        r"[@#](?=\w)|(?<=www)(?=\.)|\bGH(?=-\d)", lambda found: f"{found[0]}\u200b", str(text), flags=re.IGNORECASE
    )
    inert = re.sub(r"[&<>|`*\[\]\\~$]|(?<![^\W_])_|_(?![^\W_])", lambda found: f"&#{ord(found[0])};", inert)
    inert = re.sub(r"(?<=\w):(?=//|\w+@)", "&#58;", inert).replace("\u200b", "&#8203;")
    # At the start of a line a mark would begin a list, a heading or a quotation.
    return Markup(re.sub(r"^(\d*)([-+=#.)])(?=[\s=-]|$)", lambda found: f"{found[1]}&#{ord(found[2])};", inert))  # noqa: S704


def fence(text: str) -> Markup:
    """Return text as a block of code whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}yaml\n{text}\n{fence}")  # noqa: S704
