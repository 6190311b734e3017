"""Tensors here are small, too."""

from tests.optim.conftest import one_thread

__all__ = ["one_thread"]
