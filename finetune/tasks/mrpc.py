"""MRPC, the Microsoft Research Paraphrase Corpus (Dolan and Brockett 2005): pairs that may say the same."""

from finetune.task import GlueSubmission, Layout, Source, Task
from finetune.tasks.cola import TASK as COLA

TASK = Task(
    name="mrpc",
    title="Paraphrases (MRPC)",
    labels={"0": "different", "1": "paraphrase"},
    metrics=("f1", "accuracy", *(name for name in COLA.metrics if name not in ("f1", "accuracy"))),
    primary_metric="f1",
    source=Source(
        folder="mrpc",
        files={"train": ("train.tsv",), "test": ("val.tsv",)},
        layout=Layout(text="sentence1", text_pair="sentence2", label="label"),
        licence="none stated",
        hub_id="nyu-mll/glue",
        hub_revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        hub_files={
            "train": ("mrpc/train-00000-of-00001.parquet",),
            "test": ("mrpc/validation-00000-of-00001.parquet",),
        },
        hub_layout=Layout(text="sentence1", text_pair="sentence2", label="label"),
    ),
    demo=(
        ("The company reported a profit on Monday.", "On Monday the firm said that it had made a profit."),
        ("The company reported a profit on Monday.", "The company reported a loss on Monday."),
    ),
    glue=GlueSubmission(
        file="MRPC.tsv", words={"different": "0", "paraphrase": "1"}, columns=("#1 String", "#2 String")
    ),
)
