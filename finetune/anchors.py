"""Names of places in a page, so that every figure of a report can be pointed at.

Owns that such a name is safe whatever stands in the data, the same in every rendering, and different for different figures.
"""

import hashlib
import re

LONGEST_WORDS = 40
_EXACT = re.compile(r"[a-z0-9_]+(-[a-z0-9_]+)*")
_HASHED = re.compile(r"(.*-)?[0-9a-f]{12}")


def name_place(*names: str) -> str:
    """Return the id of a figure that these names identify; the first of them is a word of ours.

    A name of lower-case letters, digits, `_` and single hyphens stands as it is. Of any other only its letters and digits are kept, with a
    hash behind them that tells it from others which look alike; names are joined by two hyphens, which none of them holds.
    """
    return "--".join(_write_name(name) for name in names)


def _write_name(name: str) -> str:
    if _EXACT.fullmatch(name) and len(name) <= LONGEST_WORDS and not _HASHED.fullmatch(name):
        return name
    words = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:LONGEST_WORDS].strip("-")
    # A lone surrogate can't be encoded, but may come from a damaged file.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{words}-{digest}" if words else digest
