"""What a benchmark leaves behind: its rows as JSON in `results/`, with the machine and the versions they were measured on.

Owns that file alone; what is measured, and the table on the terminal, belong to each benchmark.
"""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.machine import device_name, installed_versions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FOLDER = Path(__file__).parent / "results"


def write_results(rows: "Sequence[DataclassInstance]", rounds: int, name: str, **measured_on: object) -> None:
    """Write the rows, and say where; `name` follows the date where it isn't empty, `measured_on` says of what they speak."""
    date = datetime.now(UTC).date().isoformat()
    about = {
        "date": date,
        "device": device_name(),
        "machine": platform.machine(),
        "threads": 1,
        "rounds": rounds,
        **measured_on,
        "load_average": round(os.getloadavg()[0], 2),
        "versions": installed_versions(),
    }
    path = FOLDER / f"{date}{f'-{name}' if name else ''}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
