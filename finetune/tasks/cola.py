"""CoLA, the Corpus of Linguistic Acceptability v1.1 (Warstadt et al. 2019), scored on the GLUE validation rows."""

from finetune.task import Annotations, GlueSubmission, Layout, Prompt, Source, Task

TASK = Task(
    name="cola",
    title="Grammatical acceptability (CoLA)",
    labels={"0": "unacceptable", "1": "acceptable"},
    metrics=(
        "matthews_correlation",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "precision",
        "recall",
        "roc_auc",
        "pr_auc",
        "brier",
        "log_loss",
        "expected_calibration_error",
    ),
    primary_metric="matthews_correlation",
    # The hub's validation split is the in-domain file followed by the out-of-domain file, so row numbers tell the domain.
    row_slices={"in-domain": range(527), "out-of-domain": range(527, 1043)},
    test_rows=1043,
    source=Source(
        folder="cola",
        files={"train": ("in_domain_train.tsv",), "test": ("in_domain_dev.tsv", "out_of_domain_dev.tsv")},
        layout=Layout(text="4", label="2", header=False, slices={"source": "1"}),
        licence="text copyright stays with the cited authors; research use",
        hub_id="nyu-mll/glue",
        hub_revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        hub_files={
            "train": ("cola/train-00000-of-00001.parquet",),
            "test": ("cola/validation-00000-of-00001.parquet",),
        },
        hub_layout=Layout(text="sentence", label="label"),
    ),
    demo=("They went to the market.", "They no go market.", "The book what I read was long."),
    prompt=Prompt(
        template="Sentence: {text}\nIs this sentence grammatical?{answer}",
        answers={"unacceptable": " no", "acceptable": " yes"},
    ),
    glue=GlueSubmission(file="CoLA.tsv", words={"unacceptable": "0", "acceptable": "1"}, columns=("sentence",)),
    # Warstadt and Bowman 2019, in the order of these rows; a few texts and labels are not those of v1.1.
    annotations=Annotations(
        folder="cola/annotations",
        file="CoLA_grammatical_annotations_major_features.tsv",
        text="Sentence",
        label="Acceptability",
        columns=(
            "Simple",
            "Predicate",
            "Adjunct",
            "Argument Type",
            "Arg Altern",
            "Imperative",
            "Binding",
            "Question",
            "Comp Clause",
            "Auxiliary",
            "to-VP",
            "N, Adj",
            "S-Syntax",
            "Determiner",
            "Violations",
        ),
        kind="phenomenon",
    ),
)
