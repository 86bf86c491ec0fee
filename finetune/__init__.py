"""finetune: fine-tune BERT and GPT checkpoints from recipes, with evaluation reports a sceptical reader can trust.

Public names are loaded on first use, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finetune.errors import FinetuneError
    from finetune.fitted_run import FittedRun, load_run
    from finetune.recipe_file import load_recipe
    from finetune.run import run_recipe

__version__ = "0.1.0"
__all__ = ["FinetuneError", "FittedRun", "__version__", "load_recipe", "load_run", "run_recipe"]

_HOMES = {
    "FinetuneError": "finetune.errors",
    "FittedRun": "finetune.fitted_run",
    "load_recipe": "finetune.recipe_file",
    "load_run": "finetune.fitted_run",
    "run_recipe": "finetune.run",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that owns it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'finetune' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
