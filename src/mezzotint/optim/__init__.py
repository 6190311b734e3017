"""Optimizers for PyTorch whose weights and states live in few bits, at the loss of full precision."""

from mezzotint.optim.adamw import Adam, AdamW
from mezzotint.optim.base import is_small
from mezzotint.optim.lion import Lion
from mezzotint.optim.recipes import RECIPES, Recipe
from mezzotint.optim.sgd import SGD

__all__ = ["RECIPES", "SGD", "Adam", "AdamW", "Lion", "Recipe", "is_small"]
