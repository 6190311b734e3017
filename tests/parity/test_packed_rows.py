"""Packing: the bytes of the reference from every instruction set.

Caught, each made on purpose and seen to fail here: two draws with the same random bits.
"""

import itertools

import numpy as np
import pytest
from tests.parity.cases import Case, read_only
from tests.parity.operations import (
    BITS,
    DTYPES,
    EVERY_ISA,
    SCALES,
    SINGLE_BITS,
    THREADS,
    assert_every_edge_shape_agrees,
    assert_same_bytes,
    roundings,
)

from mezzotint import kernels
from mezzotint.kernels import Layout, native, reference


@EVERY_ISA
@SINGLE_BITS
@pytest.mark.parametrize("operation", SCALES)
def test_scales_of_every_edge_shape_are_those_of_the_reference(operation, bits, isa):
    assert_every_edge_shape_agrees(operation, bits, isa)


@EVERY_ISA
@SINGLE_BITS
@pytest.mark.parametrize("operation", ["pack float32", "pack float64"])
def test_two_draws_in_an_even_width_are_packed_like_the_reference(operation, bits, isa):
    assert_every_edge_shape_agrees(operation, bits, isa, n_draws=2)


@EVERY_ISA
@DTYPES
@BITS
def test_packing_names_the_first_bad_value_in_row_order(isa, dtype, bits):
    case = Case(333, 41, bits)
    codes = np.zeros(case.layout.n_bytes, np.uint8)
    with kernels.use(isa):
        for bad in (np.nan, np.inf, -np.inf):
            for first in [(0, 0), (0, 40), (5, 31), (100, 16), (332, 0), (332, 40)]:
                x = case.x(dtype).copy()
                x[first] = bad
                x[first[0] :, first[1] :][1:, 1:] = np.nan
                for rounding, n_threads in itertools.product(roundings(bits), (1, 3)):
                    how = {"rounding": rounding, "n_threads": n_threads}
                    result = native.pack_rows(x, case.layout, *case.grid, codes, 0, **how)
                    assert result == first[0] * 41 + first[1]


@EVERY_ISA
@DTYPES
def test_the_largest_finite_values_pack_to_the_ends_of_the_range(isa, dtype):
    largest = np.finfo(dtype).max
    x = np.array([[largest, -largest, largest, -largest]], dtype)
    shape = Layout(n_rows=1, n_columns=4, bits=8)
    codes, out = np.zeros(shape.n_bytes, np.uint8), np.zeros((1, 4))
    offset, scale = np.array([-1.0, -1.0, -largest, largest]), np.array([1e-3, 1e-3, 0.0, 0.0])
    with kernels.use(isa):
        assert native.pack_rows(x, shape, offset, scale, codes, 0) == -1
        native.unpack_rows(codes, shape, np.zeros(4), np.ones(4), 0, 1, out)
    np.testing.assert_array_equal(out, [[255, 0, 0, 0]])


@EVERY_ISA
@BITS
def test_packing_in_blocks_gives_the_codes_of_packing_at_once(isa, bits):
    case = Case(203, 37, bits)
    x = case.x(np.float32)
    with kernels.use(isa):
        for rounding in roundings(bits):
            whole = np.zeros(case.layout.n_bytes, np.uint8)
            parts = np.full(case.layout.n_bytes, 3, np.uint8)
            how = {"rounding": rounding, "seed": 9, "draw": 2}
            native.pack_rows(x, case.layout, *case.grid, whole, 0, **how)
            for start, stop in [(64, 203), (0, 16), (16, 64)]:
                native.pack_rows(x[start:stop], case.layout, *case.grid, parts, start, **how, n_threads=2)
            np.testing.assert_array_equal(whole, parts)


@EVERY_ISA
def test_nearest_rounding_takes_ties_to_even_and_stochastic_rounding_is_unbiased(isa):
    steps = np.arange(0, 256, 0.25)
    x = np.tile(steps, (64, 1))
    shape = Layout(n_rows=64, n_columns=len(steps), bits=8)
    offset, scale = np.zeros(len(steps)), np.ones(len(steps))
    codes, out, total = np.zeros(shape.n_bytes, np.uint8), np.empty_like(x), np.zeros(len(steps))
    with kernels.use(isa):
        native.pack_rows(x, shape, offset, scale, codes, 0)
        native.unpack_rows(codes, shape, offset, scale, 0, 64, out)
        np.testing.assert_array_equal(out, np.minimum(np.rint(x), 255))
        for draw in range(40):
            native.pack_rows(x, shape, offset, scale, codes, 0, rounding="stochastic", seed=1, draw=draw)
            native.unpack_rows(codes, shape, offset, scale, 0, 64, out)
            total += out.sum(axis=0)
    mean, wanted = total / (64 * 40), np.minimum(steps, 255)
    # Each mean has a standard deviation of at most 0.5 / sqrt(2560) = 0.0099; 1024 of them stay within 5.
    np.testing.assert_array_less(np.abs(mean - wanted), 0.05)
    np.testing.assert_array_equal(mean[::4], steps[::4])


@EVERY_ISA
@DTYPES
@SINGLE_BITS
def test_column_scales_survive_every_kind_of_column(isa, dtype, bits, rng):
    n = 2_600
    columns = [
        np.full(n, 3.25),
        np.full(n, -0.0),
        rng.normal(size=n),
        np.where(rng.random(n) < 0.01, rng.normal(size=n), 0),
        np.concatenate([[1.0], np.zeros(n - 1)]),
        rng.integers(0, 3, n),
        np.where(rng.random(n) < 0.002, 1e6, rng.normal(size=n)),
        np.where(rng.random(n) < 0.3, -0.0, 0.0),
        1 + 1e-3 * np.arange(n),
        np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        np.where(rng.random(n) < 0.1, -np.inf, 2.0),
        np.full(n, np.finfo(dtype).tiny) * rng.random(n),
        rng.choice([-1, 1], n) * float(np.finfo(dtype).max),
    ]
    sample = read_only(np.column_stack(columns).astype(dtype))
    truth = reference.column_scales(sample, bits)
    with kernels.use(isa):
        for n_threads in THREADS:
            assert_same_bytes(native.column_scales(sample, bits, n_threads=n_threads), truth, n_threads)
    offset, scale, noise = truth
    assert (offset[0], scale[0], noise[0]) == (3.25, 0, 0)
    assert np.isfinite(offset).all()
    assert np.isfinite(scale).all()
    np.testing.assert_array_equal(offset.astype(dtype), offset)
    np.testing.assert_array_equal(scale.astype(dtype), scale)
    assert scale[4] > 0  # one value in one row is seen although the strided rows are constant
    assert scale[6] < 1  # outliers do not set the range
