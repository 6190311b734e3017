"""Optimizers for PyTorch whose weights and states live in few bits, at the loss of full precision."""

from mezzotint.optim.adamw import Adam, AdamW
from mezzotint.optim.base import is_small
from mezzotint.optim.groups import param_groups
from mezzotint.optim.lion import Lion
from mezzotint.optim.recipes import RECIPES, Recipe
from mezzotint.optim.release import release_gradients
from mezzotint.optim.report import StorageReport, Stored, storage_report
from mezzotint.optim.sgd import SGD
from mezzotint.optim.transfer import export_state, fp32_state_dict, import_state, load_fp32_

__all__ = [
    "RECIPES",
    "SGD",
    "Adam",
    "AdamW",
    "Lion",
    "Recipe",
    "StorageReport",
    "Stored",
    "export_state",
    "fp32_state_dict",
    "import_state",
    "is_small",
    "load_fp32_",
    "param_groups",
    "release_gradients",
    "storage_report",
]
