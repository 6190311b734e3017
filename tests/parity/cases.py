"""Matrices of codes at the shapes and values where kernels go wrong."""

from dataclasses import dataclass

import numpy as np

from mezzotint.kernels import Layout

ROWS = (0, 1, 15, 16, 17, 31, 33, 61)
COLUMNS = (1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 211)
OUTPUTS = (1, 2, 3, 5, 12)
FILLS = ("random", "zeros", "largest")
WIDTHS = (8, 5, 4, 3, 2)
TABLED = (5, 4, 3, 2)  # widths whose codes may be looked up in a table of levels


def some_levels(bits, n_draws, purpose=0):
    """A random table: it begins at 0, ascends, and its sums reach the largest byte that they may."""
    rng = np.random.default_rng([bits, n_draws, purpose])
    last, count = 255 // n_draws, 1 << (bits - n_draws + 1)
    inner = 1 + rng.choice(last - 1, count - 2, replace=False) if count > 2 else []
    return (0, *sorted(int(level) for level in inner), last)


def read_only(array):
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Case:
    """One matrix; everything else is drawn from it, always the same. Inputs are read-only arrays."""

    rows: int
    columns: int
    bits: int
    outputs: int = 1
    fill: str = "random"
    n_draws: int = 0  # as few as the width allows
    has_levels: bool = False

    @property
    def layout(self):
        n_draws = self.n_draws or (1 if self.bits in (4, 8) else 2)
        levels = some_levels(self.bits, n_draws) if self.has_levels else None
        return Layout(
            n_rows=self.rows, n_columns=self.columns, bits=self.bits, n_draws=n_draws, levels=levels
        )

    def rng(self, purpose):
        return np.random.default_rng([self.rows, self.columns, self.bits, self.outputs, purpose])

    @property
    def codes(self):
        """Any byte is allowed, in the padding too: nothing may leak out of it."""
        size = self.layout.n_bytes
        if self.fill == "random":
            return read_only(self.rng(0).integers(0, 256, size, dtype=np.uint8))
        return read_only(np.full(size, 0 if self.fill == "zeros" else 255, dtype=np.uint8))

    @property
    def grid(self):
        rng = self.rng(1)
        offset, scale = rng.normal(size=self.columns) - 1, rng.uniform(0.001, 0.02, self.columns)
        scale[:: max(2, self.columns // 3)] = 0  # constant columns
        return read_only(offset), read_only(scale)

    @property
    def v(self):
        """Vectors with entries of all sizes: the largest and the smallest integers occur."""
        rng = self.rng(2)
        v = rng.normal(size=(self.outputs, self.columns + 1)) * 10.0 ** rng.integers(-5, 1, self.columns + 1)
        v[:, :1] = np.abs(v).max(axis=1, keepdims=True) * np.where(rng.random((self.outputs, 1)) < 0.5, -1, 1)
        return read_only(v)

    @property
    def c(self):
        rng = self.rng(3)
        c = rng.normal(size=(self.outputs, self.rows)) * 10.0 ** rng.integers(-3, 3, self.rows)
        c[:, ::7] = 0
        return read_only(c.astype(np.float32))

    def weights(self, outputs):
        return read_only(self.rng(4).random((outputs, self.rows)).astype(np.float32))

    @property
    def probabilities(self):
        p = self.rng(5).random((self.outputs, self.rows)) + 1e-3
        return read_only((p / p.sum(axis=0)).astype(np.float32))

    def x(self, dtype):
        """Float rows on, between and beyond the codes of the grid."""
        offset, scale = self.grid
        reach = 512 if self.has_levels else 2 ** (self.bits + 1)
        steps = self.rng(6).integers(-8, reach + 8, (self.rows, self.columns)) / 2
        return read_only((offset + scale * steps).astype(dtype))
