"""Where a checkpoint comes from: the runs that made it, one from the other.

Owns that list. Which weights they are is for `checkpoint` to say. Imports no torch.
"""

from pathlib import Path

from finetune.records import Ancestor
from finetune.run_dir import RunDir, read_report, refuse_changed_model


def find_lineage(model: Path) -> list[Ancestor]:
    """Return the runs behind the model in a folder, the oldest first; none where no run made it.

    Raises:
        DataError: the report of the run that made it is damaged, or the model is no longer the one it speaks of.
    """
    run_dir = RunDir(model.parent)
    if model != run_dir.model or not run_dir.report.is_file():
        return []
    report = read_report(run_dir)
    refuse_changed_model(run_dir)
    made = report.provenance
    # The first score on all rows is the one that the report puts first, whoever made the predictions.
    score = next(
        (score for score in report.scores if (score.name, score.slice) == (report.primary_metric, "all")), None
    )
    parent = Ancestor(
        run=f"{report.name}/{run_dir.path.name}",
        task=report.task,
        checkpoint=made.checkpoint,
        checkpoint_sha256=made.checkpoint_sha256,
        metric=report.primary_metric,
        score=score.value if score else None,
        n=score.n if score else 0,
    )
    return [*made.lineage, parent]
