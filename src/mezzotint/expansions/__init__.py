"""Numbers kept as the unevaluated sum of two low-precision ones, for NumPy arrays and torch tensors alike."""

from mezzotint.expansions.error_free import Expansion, fast_two_sum, two_prod, two_prod_dekker, two_sum
from mezzotint.expansions.pairs import (
    add,
    grow,
    is_error_free,
    mul,
    renormalise,
    scale,
    split,
    unit_roundoff,
    value,
)

__all__ = [
    "Expansion",
    "add",
    "fast_two_sum",
    "grow",
    "is_error_free",
    "mul",
    "renormalise",
    "scale",
    "split",
    "two_prod",
    "two_prod_dekker",
    "two_sum",
    "unit_roundoff",
    "value",
]
