"""Memory: the most that was held is measured, and what a step frees serves the next one."""

import os
import subprocess
import sys

import pytest

from finetune.memory import peak_memory_megabytes
from tests.conftest import ROOT

# Fills a tensor as large as the gradient of an embedding table again and again, and tells how many pages a filling takes anew.
FILL = """
import resource, torch
from finetune.memory import keep_freed_memory
def count_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(12_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if {keeps}:
    keep_freed_memory()
pages = [count_pages() for _ in range(40)]
# Some fillings go by until every place in the heap that they are given has its pages.
print(sorted(pages[20:])[10])
"""


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="not glibc: NOTHING IS KEPT THERE")
def test_what_a_step_frees_serves_the_next_one() -> None:
    pages = {}
    for keeps in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", FILL.format(keeps=keeps)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        pages[keeps] = int(done.stdout)
    assert pages[True] < 100, pages
    assert pages[False] == 0 or pages[True] < pages[False] / 10, pages


def test_the_most_that_was_held_is_measured() -> None:
    assert 10 < peak_memory_megabytes() < 1_000_000
