"""CoLA v1.0 as Rothman's notebooks use it: lower-cased, tokenised text, scored on the 516 out-of-domain rows alone."""

from dataclasses import replace

from finetune.task import Layout, Source
from finetune.tasks.cola import TASK as COLA

TASK = replace(
    COLA,
    name="cola-book",
    title="Grammatical acceptability (CoLA v1.0, the book's files)",
    row_slices={},
    test_rows=516,
    source=Source(
        folder="cola/book",
        files={"train": ("in_domain_train.tsv",), "test": ("out_of_domain_dev.tsv",)},
        layout=Layout(text="4", label="2", header=False, slices={"source": "1"}),
        licence="text copyright stays with the cited authors; research use",
    ),
    demo=("they went to the market .", "they no go market .", "the book what i read was long ."),
    # Neither the leaderboard's rows nor the annotated ones are tokenised and lower-cased as these are.
    glue=None,
    annotations=None,
)
