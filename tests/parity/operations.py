"""Every operation on packed rows as a function (module of kernels, Case) -> arrays, for tables of tests."""

import functools
import itertools

import numpy as np
import pytest
from tests.parity.cases import COLUMNS, OUTPUTS, ROWS, WIDTHS, Case

from mezzotint import kernels
from mezzotint.kernels import native, reference

ISAS = [name for name in kernels.available() if name != "reference"]
THREADS = (1, 2, 3, 7)
EVERY_ISA = pytest.mark.parametrize("isa", ISAS)
BITS = pytest.mark.parametrize("bits", WIDTHS)
SINGLE_BITS = pytest.mark.parametrize("bits", [8, 4])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def margins(ops, case, **how):
    out = np.full((case.outputs, case.rows), 7, np.float32)
    ops.packed_margins(case.codes, case.layout, *case.grid, case.v, out, **how)
    return (out,)


def gradient(ops, case, **how):
    return (ops.packed_gradient(case.codes, case.layout, *case.grid, case.c, **how),)


def curvature_with(weights, probabilities):
    def curvature(ops, case, **how):
        out = np.full((case.outputs, case.rows), 7, np.float32)
        p = case.probabilities if probabilities else None
        w = case.weights(case.outputs if weights == "each" else 1)
        return ops.packed_curvature(case.codes, case.layout, *case.grid, case.v, w, p, out, **how), out

    return curvature


def pack_with(dtype, rounding):
    def pack(ops, case, **how):
        codes = np.full(case.layout.n_bytes, 99, np.uint8)
        how |= {
            "rounding": rounding if case.layout.n_draws == 1 and not case.has_levels else "stochastic",
            "seed": 2**40 + 5,
            "draw": 3,
        }
        bad = ops.pack_rows(case.x(dtype), case.layout, *case.grid, codes, 0, **how)
        return np.array(bad), codes

    return pack


def roundings(bits):
    """Widths of one draw are rounded both ways, draws are random."""
    return ("nearest", "stochastic") if bits in (4, 8) else ("stochastic",)


def unpack_with(dtype):
    def unpack(ops, case, **how):
        first = case.rows // 3
        out = np.full((case.rows - first, case.columns), 7, dtype)
        ops.unpack_rows(case.codes, case.layout, *case.grid, first, len(out), out, **how)
        return (out,)

    return unpack


def scales_with(dtype):
    def scales(ops, case, **how):
        return ops.column_scales(case.x(dtype) if case.rows else np.zeros((1, 1), dtype), case.bits, **how)

    return scales


def gap_squares_with(weighted):
    def gap_squares(ops, case, **how):
        weights = case.c[0].astype(np.float64) if weighted else None
        return (ops.gap_squares(case.codes, case.layout, weights, **how),)

    return gap_squares


PRODUCTS = {
    "margins": margins,
    "gradient": gradient,
    "curvature, one weight per row": curvature_with("shared", False),
    "curvature, a weight per output": curvature_with("each", False),
    "curvature, softmax": curvature_with("shared", True),
    "gap squares": gap_squares_with(False),
    "gap squares, weighted": gap_squares_with(True),
}
SCALES = {"scales float32": scales_with(np.float32), "scales float64": scales_with(np.float64)}
OPERATIONS = PRODUCTS | {
    "pack float32": pack_with(np.float32, "nearest"),
    "pack float64": pack_with(np.float64, "nearest"),
    "pack float32, stochastic": pack_with(np.float32, "stochastic"),
    "pack float64, stochastic": pack_with(np.float64, "stochastic"),
    "unpack float32": unpack_with(np.float32),
    "unpack float64": unpack_with(np.float64),
}


@functools.cache
def expected(operation, case):
    return (OPERATIONS | SCALES)[operation](reference, case)


def assert_same_bytes(result, truth, message):
    for have, want in zip(result, truth, strict=True):
        assert have.dtype == want.dtype, message
        assert have.shape == want.shape, message
        assert have.tobytes() == want.tobytes(), message


def assert_every_edge_shape_agrees(operation, bits, isa, n_draws=0, *, has_levels=False):
    with kernels.use(isa):
        for i, (rows, columns) in enumerate(itertools.product(ROWS, COLUMNS)):
            case = Case(
                rows, columns, bits, OUTPUTS[i % len(OUTPUTS)], n_draws=n_draws, has_levels=has_levels
            )
            n_threads = THREADS[i % len(THREADS)]
            result = (OPERATIONS | SCALES)[operation](native, case, n_threads=n_threads)
            assert_same_bytes(result, expected(operation, case), (case, n_threads))
