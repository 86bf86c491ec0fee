"""Spam among text messages (Almeida et al. 2011): one message in seven."""

from finetune.task import Layout, Source, Task

TASK = Task(
    name="spam",
    title="Spam among text messages (SMS Spam Collection)",
    # The rare class comes second, so that F1, precision, recall and a threshold speak of it.
    labels={"ham": "ham", "spam": "spam"},
    metrics=(
        "f1",
        "precision",
        "recall",
        "pr_auc",
        "macro_f1",
        "matthews_correlation",
        "accuracy",
        "roc_auc",
        "brier",
        "log_loss",
        "expected_calibration_error",
    ),
    primary_metric="f1",
    source=Source(
        folder="sms_spam",
        files={"train": ("sms_spam.tsv",)},
        layout=Layout(text="text", label="label"),
        licence="none stated",
    ),
    demo=(
        "You have won a free prize! Call now to claim.",
        "Running ten minutes late, see you there.",
        "Your parcel is waiting, pay the fee at this link.",
    ),
)
