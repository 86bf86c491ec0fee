"""Short trainings of the objectives that aren't tried as whole runs or language models, as one of several processes.

python -m tests.objectives_in_processes CHECKPOINT FOLDER
"""

import sys
from pathlib import Path

from finetune.checkpoint import Checkpoint
from finetune.processes import join_processes
from tests import test_label_objectives as labels
from tests import test_next_sentence_objectives as pairs


def train_each(folder: Path, out: Path, processes: int = 1) -> dict[str, list[dict]]:
    """Return the events of each objective on a checkpoint without dropout, two rows of each process at a time."""
    checkpoint, cut = Checkpoint(folder, "tiny", "0" * 64), {"micro_batch_size": 2} if processes > 1 else {}
    found = {}
    for kind in labels.NAMES:
        found[kind] = labels.train_once(kind, checkpoint, out / kind, processes=processes, **cut)
    for name in pairs.TASKS:
        found[name] = pairs.train_once(name, folder, out / name, processes=processes, **cut)
    return found


def main() -> None:
    """Train as one of several processes."""
    own = join_processes()
    train_each(Path(sys.argv[1]), Path(sys.argv[2]), own.count)
    own.wait()


if __name__ == "__main__":
    main()
