"""Classification of the user's own texts, or pairs of texts: `data.path` and `data.columns` say where they are."""

from finetune.task import Task

TASK = Task(
    name="text-classification",
    title="Text classification",
    metrics=(
        "macro_f1",
        "accuracy",
        "balanced_accuracy",
        "matthews_correlation",
        "roc_auc",
        "pr_auc",
        "brier",
        "log_loss",
        "expected_calibration_error",
    ),
    primary_metric="macro_f1",
)
