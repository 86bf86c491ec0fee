"""The house itself: imports point one way, light modules stay light, and the README's tree is the tree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = {path.stem: path for path in (ROOT / "finetune").glob("*.py")}
# From the bottom up: a module may import from lower layers, and from its own.
LAYERS = (
    (
        "__init__",
        "anchors",
        "errors",
        "findings",
        "head_bias",
        "loss",
        "markup",
        "recipe_sections",
        "row_store",
        "sample_phenomena",
        "sentences",
        "stopping",
        "training_state",
        "svg",
        "weighted_values",
    ),
    (
        "answers",
        "callbacks",
        "gpu_attention",
        "hub",
        "machine",
        "memory",
        "mistakes",
        "prediction_records",
        "recipe",
        "records",
        "run_records",
        "sample",
        "task",
        "text_files",
        "tokenizer_training",
        "weighted_areas",
        "yaml_nodes",
    ),
    (
        "calibration",
        "card_examples",
        "comparison_records",
        "curves",
        "data_checks",
        "doctor",
        "ensembles",
        "launch",
        "layouts",
        "metric",
        "processes",
        "prompts",
        "provenance",
        "readers",
        "disk_space",
        "manifests",
        "record_files",
        "run_dir",
    ),
    (
        "annotations",
        "checkpoint",
        "checkpoint_files",
        "checkpoint_writer",
        "class_metrics",
        "documents",
        "labels",
        "language_metrics",
        "lineage",
        "metrics",
        "multilabel_metrics",
        "near_duplicates",
        "next_sentence",
        "regression_metrics",
        "run_folder",
        "splits",
        "weighted_classes",
    ),
    (
        "decisions",
        "evaluate_metrics",
        "examples",
        "objective_problems",
        "sources",
        "weighted_language",
        "weighted_multilabel",
        "weighted_regression",
    ),
    ("data", "extra_fields", "recipe_problems", "weighted_metrics"),
    ("baselines", "features", "predictions", "recipe_file", "resampling"),
    ("batching", "enough_rows", "recipe_list", "resolved", "topic_shortcut"),
    ("init_recipe", "masking", "objective", "packing", "statistics"),
    ("packed_attention", "paired_tests", "supervised_head", "text_features"),
    ("completion", "likelihoods", "pair_features", "pooling", "rivals", "slices", "token_likelihoods"),
    ("fill_mask", "language_baselines", "predict", "scores", "sentence_likelihood"),
    ("start", "wording"),
    (
        "collapse",
        "compared_answers",
        "compared_rows",
        "comparison_sentences",
        "curve_pictures",
        "error_findings",
        "headline",
        "model",
        "pictures",
        "report_tables",
        "requirements",
    ),
    (
        "compare_pairs",
        "compared_row_tables",
        "comparison_tables",
        "error_tables",
        "finding_tables",
        "fitted_run",
        "objective_tables",
        "prepare",
        "report",
        "report_facts",
        "reproduce",
        "slice_tables",
        "strips",
        "trainer",
        "training",
        "training_arguments",
    ),
    (
        "baseline_answers",
        "changes",
        "check",
        "compared_facts",
        "compared_runs",
        "fit",
        "glue_files",
        "model_index",
        "render",
        "render_comparison",
    ),
    ("compare", "model_card", "run_report", "seed_jobs", "terminal"),
    ("evaluate_run", "push", "run"),
    ("cli",),
    ("cli_runs", "exits"),
    ("__main__", "cli_compare", "cli_predict", "cli_share"),
)
HEAVY = {"torch", "transformers", "datasets", "evaluate", "accelerate", "peft", "trl", "matplotlib", "sklearn"}
# Modules that train or compute with torch; all others keep heavy imports inside functions.
WITH_TORCH = {
    "batching",
    "gpu_attention",
    "likelihoods",
    "packed_attention",
    "packing",
    "pooling",
    "supervised_head",
    "loss",
    "callbacks",
    "trainer",
    "training",
    "training_arguments",
    "training_state",
    "evaluate_metrics",
}


def imports_of(path: Path, *, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_every_module_has_its_layer() -> None:
    assert {name for layer in LAYERS for name in layer} == set(MODULES)


def test_imports_point_one_way() -> None:
    height = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for name, path in MODULES.items():
        if name == "__init__":
            continue
        for imported in imports_of(path, top_level_only=False):
            package, _, module = imported.partition(".")
            if package == "finetune" and module in height:
                assert height[module] <= height[name], f"{name} imports {module}, which lies above it"


def test_objectives_import_nothing_of_runs_and_reports() -> None:
    height = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    for path in (ROOT / "finetune" / "objectives").glob("*.py"):
        for imported in imports_of(path, top_level_only=False):
            package, _, module = imported.partition(".")
            if package == "finetune" and module in height:
                assert height[module] < height["prepare"], f"{path.name} imports {module}"


def test_light_modules_import_nothing_heavy_at_the_top() -> None:
    for name, path in MODULES.items():
        if name not in WITH_TORCH:
            heavy = {imported.partition(".")[0] for imported in imports_of(path, top_level_only=True)} & HEAVY
            assert not heavy, f"{name} imports {heavy} at its top"


def test_nothing_downstream_of_a_run_imports_the_trainer() -> None:
    for name in (
        "report",
        "render",
        "report_tables",
        "wording",
        "pictures",
        "predict",
        "scores",
        "statistics",
        "metrics",
        "compare",
        "render_comparison",
        "model_card",
    ):
        assert "finetune.trainer" not in imports_of(MODULES[name], top_level_only=False)


def test_tasks_are_declarations_only() -> None:
    for path in (ROOT / "finetune" / "tasks").glob("*.py"):
        nodes = ast.parse(path.read_text(encoding="utf-8")).body
        assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)], path.name


def test_only_run_dir_spells_the_file_names_of_a_run() -> None:
    names = re.compile(
        r"\"(report\.json|report\.html|report\.md|predictions\.jsonl|events\.jsonl|status\.json|data\.json|run\.lock|beginning\.json|"
        r"rows\.jsonl|dev_predictions\.jsonl|decision\.json|comparison\.(json|md|html))\""
    )
    for name, path in MODULES.items():
        if name != "run_dir":
            assert not names.search(path.read_text(encoding="utf-8")), f"{name} spells a file name of a run"


def test_nothing_in_the_package_can_run_code_from_data() -> None:
    forbidden_calls = {"eval", "exec", "compile", "torch.load", "yaml.load", "np.load", "joblib.load"}
    for name, path in MODULES.items():
        assert not imports_of(path, top_level_only=False) & {"pickle", "joblib", "dill", "shelve", "marshal"}, name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in forbidden_calls, f"{name}:{node.lineno}"
                flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert flags.get("shell") != "True", f"{name}:{node.lineno}"
                assert flags.get("trust_remote_code", "False") == "False", f"{name}:{node.lineno}"
                assert flags.get("allow_pickle") != "True", f"{name}:{node.lineno}"


def test_light_commands_never_import_torch() -> None:
    script = (
        "import sys, finetune.exits, finetune.report, finetune.render, finetune.recipe_list, finetune.compare, "
        "finetune.render_comparison, finetune.statistics, finetune.resampling, finetune.weighted_metrics, "
        "finetune.paired_tests, finetune.calibration, finetune.rivals, finetune.slices, finetune.model_card; "
        "print(sorted({'torch', 'transformers', "
        "'datasets', 'evaluate', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_tree_in_the_readme_names_every_module_once() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = readme.partition("```text\nfinetune/")[2].partition("```")[0]
    named = re.findall(r"^  (\w+)\.py ", tree, flags=re.MULTILINE)
    assert sorted(named) == sorted(MODULES)
