"""A number for each of the user's own texts, or pairs of texts: `data.path` and `data.columns` say where they are."""

from finetune.task import Task

TASK = Task(
    name="regression",
    title="Regression",
    objective="regression",
    metrics=("pearson", "spearman", "mean_squared_error", "mean_absolute_error"),
    primary_metric="pearson",
)
