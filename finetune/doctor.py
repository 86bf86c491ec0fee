"""What this machine has, and what a run will use of it.

Owns the findings of `finetune doctor`. Asks no network.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from finetune.machine import (
    Precision,
    choose_precision,
    choose_threads,
    device_name,
    installed_versions,
    list_old_versions,
    usable_cores,
)


@dataclass(frozen=True)
class Finding:
    """One line of the examination; `is_good` is None where nothing can be wrong."""

    subject: str
    value: str
    is_good: bool | None = None


def examine() -> list[Finding]:
    """Return all findings."""
    import torch

    old = list_old_versions()
    has_gpu = torch.cuda.is_available()
    precision = choose_precision("auto")
    why = (
        ""
        if has_gpu or precision == "bf16"
        else ": this processor has neither amx_bf16 nor avx512_bf16, and emulated bf16 is slower"
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0.0
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    return [
        Finding("device", device_name()),
        Finding("GPUs", str(torch.cuda.device_count()) if has_gpu else "none"),
        Finding(
            "cores",
            f"{usable_cores()}, of which a run of one process uses {choose_threads(None, 1)} threads (train.threads)",
        ),
        Finding("precision", f"{precision} for train.precision: auto{why}"),
        Finding("packed attention", _name_attention(precision)),
        Finding("memory", f"{memory:.1f} GB"),
        Finding("free disk", f"{free:.1f} GB here", is_good=free > 2),
        _examine_data(),
        Finding(
            "hub",
            "offline, by HF_HUB_OFFLINE"
            if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
            else "asked when a checkpoint or data set is neither local nor cached",
        ),
        Finding("versions", ", ".join(f"{name} {version}" for name, version in installed_versions().items())),
        Finding("security floors", "; ".join(old) or "met", is_good=not old),
    ]


def _name_attention(precision: Precision) -> str:
    """Return how rows of a packed batch are attended to, in heads of 64 as BERT and GPT-2 have them."""
    import torch

    from finetune.gpu_attention import find_kernel, flash_attention

    if not torch.cuda.is_available():
        return "rows of one length together"
    number_format = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    kernel = find_kernel(torch.device("cuda", 0), number_format, 64)
    if kernel is None:
        return "in a padded table or by length, since no kernel keeps rows apart here"
    return f"{'flash' if kernel is flash_attention else 'memory-efficient'} attention, all rows in one call"


def _examine_data() -> Finding:
    root = os.environ.get("FINETUNE_DATA")
    if not root:
        return Finding(
            "FINETUNE_DATA", "not set; data comes from the recipe's data.path, the embedded sample or the hub"
        )
    if not Path(root).is_dir():
        return Finding("FINETUNE_DATA", f"{root}: no such folder", is_good=False)
    return Finding(
        "FINETUNE_DATA",
        f"{root}: {', '.join(sorted(entry.name for entry in Path(root).iterdir() if entry.is_dir()))}",
        is_good=True,
    )
