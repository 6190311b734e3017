"""What each parameter of an optimizer got: its recipe and its bytes, before or after the first step."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from torch import Tensor

from mezzotint.optim.base import LowPrecisionOptimizer
from mezzotint.optim.codecs import Component
from mezzotint.optim.states import layout

__all__ = ["StorageReport", "Stored", "storage_report"]


@dataclass(frozen=True)
class Stored:
    """How one parameter is stored.

    Attributes
    ----------
    name : str
        From ``named_parameters()``, where the optimizer was made of it, or else "0.1": group 0, parameter 1.
    shape : tuple of int
        Of the whole parameter.
    recipe : str
        Name of its recipe, after sparing.
    n_bytes : int
        Visible weight and state of the whole parameter, without its gradient and its count of steps.
    """

    name: str
    shape: tuple[int, ...]
    recipe: str
    n_bytes: int

    @property
    def n_elements(self) -> int:
        """Elements of the whole parameter."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class StorageReport:
    """How all parameters are stored; as a text, a table in which alike layers share a line.

    Attributes
    ----------
    rows : tuple of Stored
        One per parameter, in the order of the groups.
    """

    rows: tuple[Stored, ...]

    @property
    def n_bytes(self) -> int:
        """Of all parameters."""
        return sum(row.n_bytes for row in self.rows)

    @property
    def bytes_per_parameter(self) -> float:
        """On average over all elements; 0 where there are none."""
        return self.n_bytes / max(sum(row.n_elements for row in self.rows), 1)

    def __str__(self) -> str:
        alike: dict[tuple[str, tuple[int, ...], str], list[Stored]] = {}
        for row in self.rows:
            alike.setdefault((re.sub(r"\d+", "*", row.name), row.shape, row.recipe), []).append(row)
        lines = [("parameter", "shape", "recipe", "bytes", "per element")]
        for (pattern, shape, recipe), rows in alike.items():
            name = rows[0].name if len(rows) == 1 else f"{pattern} ({len(rows)} of them)"
            lines.append((name, str(shape), recipe, *_bytes(rows)))
        lines.append(("all", "", "", *_bytes(list(self.rows))))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = (
            "  ".join(
                cell.ljust(width) if place < 3 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )
        return "\n".join(text.rstrip() for text in texts)


def storage_report(optimizer: LowPrecisionOptimizer) -> StorageReport:
    """Say how each parameter of an optimizer is stored, without making its state.

    Parameters
    ----------
    optimizer : LowPrecisionOptimizer
        Of this package, before its first step or later.

    Returns
    -------
    StorageReport
        Print it, or read its rows.

    Examples
    --------
    >>> import torch
    >>> from mezzotint.optim import AdamW, param_groups
    >>> model = torch.nn.Sequential(
    ...     *[torch.nn.Linear(256, 256, bias=number == 1, dtype=torch.bfloat16) for number in range(2)]
    ... )
    >>> optimizer = AdamW(param_groups(model, weight_decay=0.1, recipe="4bit"))
    >>> print(storage_report(optimizer))
    parameter             shape       recipe    bytes  per element
    *.weight (2 of them)  (256, 256)  4bit     528384         4.03
    1.bias                (256,)      exact32    3072        12.00
    all                                        531456         4.05
    """
    rows = []
    for number, group in enumerate(optimizer.param_groups):
        names = group.get("param_names") or [f"{number}.{place}" for place in range(len(group["params"]))]
        for name, p in zip(names, group["params"], strict=True):
            recipe = optimizer.recipe_of(p)
            components = (recipe.weight.components[0], *layout(optimizer._rule(group), recipe).values())
            n_bytes = sum(_size(p, component) for component in components)
            rows.append(Stored(name, tuple(p.shape), recipe.name, n_bytes))
    return StorageReport(tuple(rows))


def _size(p: Tensor, component: Component) -> int:
    """Bytes of a component of a whole parameter."""
    rows = p.shape[0] if p.dim() else 1
    return rows * component.columns(math.prod(p.shape[1:])) * component.dtype.itemsize


def _bytes(rows: list[Stored]) -> tuple[str, str]:
    """Sum and share per element, as texts."""
    report = StorageReport(tuple(rows))
    return str(report.n_bytes), f"{report.bytes_per_parameter:.2f}"
