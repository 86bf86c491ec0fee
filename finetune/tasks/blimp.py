"""BLiMP (Warstadt et al. 2020): which of two sentences that differ in one point is acceptable? A third of its paradigms."""

from finetune.task import Layout, Source, Task

PARADIGMS = (
    "adjunct_island",
    "animate_subject_passive",
    "complex_NP_island",
    "determiner_noun_agreement_1",
    "determiner_noun_agreement_irregular_2",
    "determiner_noun_agreement_with_adj_irregular_2",
    "distractor_agreement_relative_clause",
    "ellipsis_n_bar_2",
    "existential_there_quantifiers_2",
    "inchoative",
    "irregular_past_participle_verbs",
    "left_branch_island_echo_question",
    "npi_present_1",
    "only_npi_scope",
    "principle_A_c_command",
    "principle_A_domain_1",
    "principle_A_reconstruction",
    "sentential_negation_npi_licensor_present",
    "superlative_quantifiers_1",
    "tough_vs_raising_2",
    "wh_questions_object_gap",
    "wh_vs_that_no_gap",
    "wh_vs_that_with_gap_long_distance",
)

LAYOUT = Layout(
    text="sentence_good",
    text_pair="sentence_bad",
    slices={"field": "field", "phenomenon": "linguistics_term", "paradigm": "UID"},
)

TASK = Task(
    name="blimp",
    title="Minimal pairs (BLiMP)",
    objective="minimal_pairs",
    labels={"first": "first", "second": "second"},
    metrics=("accuracy", "matthews_correlation", "roc_auc", "brier", "log_loss", "expected_calibration_error"),
    primary_metric="accuracy",
    source=Source(
        folder="blimp",
        files={"test": tuple(f"{paradigm}.jsonl" for paradigm in PARADIGMS)},
        layout=LAYOUT,
        licence="CC BY 4.0",
        hub_id="nyu-mll/blimp",
        hub_revision="877fba0801ffb7cbd8c39c1ff314a46f053f6036",
        hub_files={"test": tuple(f"{paradigm}/train-00000-of-00001.parquet" for paradigm in PARADIGMS)},
        hub_layout=LAYOUT,
    ),
    demo=(
        ("The keys to the cabinet are on the table.", "The keys to the cabinet is on the table."),
        ("Who might she have seen?", "Who she might have seen?"),
    ),
)
