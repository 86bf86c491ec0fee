"""Several labels at once for each of the user's own texts: `data.columns.labels` names a column of 0 and 1 for each."""

from finetune.task import Task

TASK = Task(
    name="multilabel",
    title="Multi-label classification",
    objective="multilabel",
    metrics=("macro_f1", "micro_f1", "subset_accuracy", "hamming_loss", "roc_auc", "pr_auc"),
    primary_metric="macro_f1",
)
