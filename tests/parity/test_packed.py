"""Would catch: maddubs on AVX2, fma in margins, blocks cut by threads, a read past a row, 70,000 columns.

Two planes: last bits of the neighbouring column group, a mask beside its codes. Odd codes of padding rows.

Each of these was built once and seen to fail: saturation and everything that touches a sum or a plane in the
first two tests, fma only where margins cancel, a row sum over 2**31 in the overflow tests, the read by a page
fault.
"""

import ctypes
import mmap

import numpy as np
import pytest
from tests.parity.cases import FILLS, Case, read_only
from tests.parity.operations import (
    BITS,
    EVERY_ISA,
    OPERATIONS,
    PRODUCTS,
    THREADS,
    assert_every_edge_shape_agrees,
    assert_same_bytes,
    expected,
    roundings,
)

from mezzotint import kernels
from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, _native, layout, native, reference


@EVERY_ISA
@BITS
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_edge_shape_gives_the_bytes_of_the_reference(operation, bits, isa):
    assert_every_edge_shape_agrees(operation, bits, isa)


@EVERY_ISA
@BITS
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("operation", PRODUCTS)
def test_codes_at_their_limits_give_the_bytes_of_the_reference(operation, fill, bits, isa):
    with kernels.use(isa):
        for rows, columns, outputs in [(1, 1, 1), (48, 96, 2), (600, 33, 3), (70, 1030, 14)]:
            case = Case(rows, columns, bits, outputs, fill)
            assert_same_bytes(OPERATIONS[operation](native, case), expected(operation, case), case)


@EVERY_ISA
@BITS
@pytest.mark.parametrize("operation", PRODUCTS)
def test_threads_and_segments_do_not_show_in_the_bytes(operation, bits, isa):
    case = Case(2_503, 37, bits, 3)
    count = len(case.layout.segments) - 1
    assert count > 7
    with kernels.use(isa):
        for n_threads in THREADS:
            result = OPERATIONS[operation](native, case, n_threads=n_threads)
            assert_same_bytes(result, expected(operation, case), n_threads)
        for segments in [(0, 0), (0, 1), (2, 5), (count - 1, 1), (count, 0)]:
            for n_threads in (1, 3):
                result = OPERATIONS[operation](native, case, segments=segments, n_threads=n_threads)
                truth = OPERATIONS[operation](reference, case, segments=segments)
                assert_same_bytes(result, truth, (segments, n_threads))


@EVERY_ISA
@BITS
def test_many_classes_and_wide_rows_are_cut_into_slices_and_still_agree(bits, isa):
    with kernels.use(isa):
        for rows, columns, outputs in [(33, 4_400, 1), (50, 1_700, 13), (20, 800, 29)]:
            case = Case(rows, columns, bits, outputs)
            for name in ("margins", "gradient", "curvature, softmax"):
                assert_same_bytes(OPERATIONS[name](native, case), expected(name, case), (name, case))


@EVERY_ISA
@BITS
def test_margins_that_cancel_show_every_rounding_of_float64(bits, isa):
    """Output k adds to all rows what cancels row k: a fused multiply-add would leave its rounding error."""
    case = Case(40, 65, bits)
    scale = case.rng(9).uniform(0.001, 0.02, case.columns)
    offset = -case.layout.mid_code * scale  # the middle code stands for 0: only v_0 is added to the sum
    vector = reference.packed._WideVector(case.v[0], case.layout, offset, scale)
    codes = np.zeros((case.rows, case.columns))
    reference.unpack_rows(case.codes, case.layout, np.zeros(65), np.ones(65), 0, case.rows, codes)
    v = np.repeat(case.v, case.rows, axis=0)
    v[:, -1] = -vector.scale * (codes @ vector.integers - vector.shift)
    out = np.ones((case.rows, case.rows), np.float32)
    truth = out.copy()
    reference.packed_margins(case.codes, case.layout, offset, scale, v, truth)
    assert not np.diag(truth).any()
    with kernels.use(isa):
        native.packed_margins(case.codes, case.layout, offset, scale, v, out)
    assert_same_bytes((out,), (truth,), case)


@EVERY_ISA
@pytest.mark.parametrize("sign", [1, -1])
def test_row_sums_of_the_widest_matrix_with_the_worst_codes_do_not_overflow(isa, sign):
    shape = Layout(n_rows=5, n_columns=layout.MAX_COLUMNS, bits=8)
    codes = np.full(shape.n_bytes, 255, np.uint8)
    offset, scale = np.full(shape.n_columns, -128.0), np.ones(shape.n_columns)  # value = code - 128 = 127
    for integer in (128, 127 * 256 + 127, -127 * 256 - 127):  # low part -128; both parts 127; both -127
        v = np.full((1, shape.n_columns + 1), float(sign * integer))
        v[0, 0], v[0, -1] = 32_639, 0  # the largest entry sets the scale to 1: integers stay themselves
        out = np.zeros((1, 5), np.float32)
        with kernels.use(isa):
            native.packed_margins(codes, shape, offset, scale, v, out)
        exact = 127 * (32_639 + (shape.n_columns - 1) * sign * integer)
        np.testing.assert_array_equal(out, np.float32(exact))


@EVERY_ISA
def test_column_sums_of_the_longest_block_with_the_worst_codes_do_not_overflow(isa):
    shape = Layout(n_rows=layout.segment_bounds(2**17, 16)[1], n_columns=16, bits=8)
    assert shape.block_rows == 512
    codes = np.full(shape.n_bytes, 255, np.uint8)
    for sign in (1, -1):
        c = np.full((1, shape.n_rows), sign, np.float32)
        with kernels.use(isa):
            partials = native.packed_gradient(codes, shape, np.full(16, -128.0), np.ones(16), c)
        np.testing.assert_allclose(partials.sum(axis=0)[0, :-1], 127 * sign * shape.n_rows, rtol=1e-15)


@BITS
def test_more_columns_than_int32_sums_can_hold_are_refused(bits):
    with pytest.raises(DataError, match=r"n_columns=65537; a packed matrix has 1 to 65536 columns"):
        Layout(n_rows=1, n_columns=65_537, bits=bits, n_draws=Case(1, 1, bits).layout.n_draws)
    with pytest.raises(ValueError, match=r"columns must be in \[1, 65536\]"):
        _native.pack_rows(
            np.zeros((1, 65_537), np.float32),
            (1, 65_537, bits, 1, None),
            np.zeros(65_537),
            np.zeros(65_537),
            np.zeros(16 * 65_552, np.uint8),
            0,
            None,
            1,
        )


@EVERY_ISA
@BITS
def test_codes_may_lie_at_any_address(isa, bits):
    case = Case(50, 100, bits, 2)
    with kernels.use(isa):
        for shift in (1, 16, 33):
            memory = np.full(case.layout.n_bytes + 64, 5, np.uint8)
            codes = memory[shift : shift + case.layout.n_bytes]
            for operation in ("pack float32", "pack float32, stochastic"):
                rounding = "stochastic" if case.layout.n_draws == 2 or "," in operation else "nearest"
                how = {"rounding": rounding, "seed": 2**40 + 5, "draw": 3}
                native.pack_rows(case.x(np.float32), case.layout, *case.grid, codes, 0, **how)
                assert_same_bytes((codes,), expected(operation, case)[1:], shift)
                assert (memory[:shift] == 5).all()
                assert (memory[shift + len(codes) :] == 5).all()
            truth = reference.packed_gradient(codes, case.layout, *case.grid, case.c)
            assert_same_bytes(
                (native.packed_gradient(codes, case.layout, *case.grid, case.c),), (truth,), shift
            )


def at_the_end_of_a_page(array):
    """A copy of `array` whose next byte may not be read."""
    pages = -(-array.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    guard = ctypes.addressof(ctypes.c_char.from_buffer(memory, pages * mmap.PAGESIZE))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    start = pages * mmap.PAGESIZE - array.nbytes
    copy = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
    copy[...] = array
    return copy


@EVERY_ISA
@BITS
def test_no_kernel_reads_past_the_end_of_an_array(isa, bits):
    with kernels.use(isa):
        for rows, columns in [(1, 1), (17, 33), (61, 47), (16, 32)]:
            case = Case(rows, columns, bits, 3)
            grid = [at_the_end_of_a_page(a) for a in case.grid]
            for dtype in (np.float32, np.float64):
                x = at_the_end_of_a_page(case.x(dtype))
                codes = at_the_end_of_a_page(np.zeros_like(case.codes))
                for rounding in roundings(bits):
                    assert native.pack_rows(x, case.layout, *grid, codes, 0, rounding=rounding) == -1
                native.column_scales(x, 8 if bits > 4 else 4)
                native.unpack_rows(codes, case.layout, *grid, 0, rows, x)
            v, c = at_the_end_of_a_page(case.v), at_the_end_of_a_page(case.c)
            w, p = at_the_end_of_a_page(case.weights(1)), at_the_end_of_a_page(case.probabilities)
            native.packed_curvature(codes, case.layout, *grid, v, w, p, c)
            native.packed_gradient(codes, case.layout, *grid, c)
            native.gap_squares(codes, case.layout, None)
            native.gap_squares(
                codes, case.layout, at_the_end_of_a_page(case.weights(1)[0].astype(np.float64))
            )


@EVERY_ISA
def test_vectors_without_a_usable_scale_count_as_zero_and_bad_ones_give_nan(isa):
    case = Case(20, 17, 8, 1)
    with kernels.use(isa):
        for value, wanted in [(0.0, 3.0), (5e-324, 3.0), (1e-306, 3.0), (np.nan, np.nan), (np.inf, np.nan)]:
            v, out = np.full((1, 18), value), np.zeros((1, 20), np.float32)
            v[0, -1] = 3.0
            truth = out.copy()
            native.packed_margins(case.codes, case.layout, *case.grid, v, out)
            with np.errstate(invalid="ignore"):
                reference.packed_margins(case.codes, case.layout, *case.grid, v, truth)
            np.testing.assert_array_equal(out, np.full((1, 20), wanted, np.float32))
            np.testing.assert_array_equal(out, truth)


@EVERY_ISA
def test_row_coefficients_of_any_size_are_kept_and_bad_ones_give_nan(isa):
    case = Case(40, 17, 8, 1)
    with kernels.use(isa):
        for scale in (1e-45, 1e-38, 1e38):
            c = (np.sign(case.c) * np.float32(scale)).astype(np.float32)
            truth = reference.packed_gradient(case.codes, case.layout, *case.grid, c)
            assert_same_bytes(
                (native.packed_gradient(case.codes, case.layout, *case.grid, c),), (truth,), scale
            )
            assert truth.any()
        for bad in (np.nan, np.inf):
            c = case.c.copy()
            c[0, 3] = bad
            result = native.packed_gradient(case.codes, case.layout, *case.grid, c)
            assert not np.isfinite(result).any()


@EVERY_ISA
@BITS
def test_a_gradient_sees_coefficients_far_below_the_largest_of_their_block(isa, bits, rng):
    """One plane of 8 bits would round all but the largest to zero (built once, and seen to fail here)."""
    case = Case(64, 40, bits)
    c = rng.uniform(1e-4, 1e-3, (1, 64)).astype(np.float32)
    c[0, 5] = 1.0
    values = np.zeros((64, 40))
    reference.unpack_rows(case.codes, case.layout, *case.grid, 0, 64, values)
    with kernels.use(isa):
        result = native.packed_gradient(case.codes, case.layout, *case.grid, c)[0, 0, :-1]
    span = case.grid[1] * 2**bits
    bound = 64 * 1e-3 / 254 * span + 1e-12  # every coefficient to half a step of the second plane
    assert (np.abs(result - c[0].astype(np.float64) @ values) <= bound).all()
    assert (np.abs(values[5] - result) > bound).any()  # the small ones count


def bad_arguments():
    case = Case(40, 20, 8, 2)
    codes, (offset, scale) = case.codes, case.grid
    out = np.zeros((2, 40), np.float32)
    good = (codes, case.layout, offset, scale, case.v, out)

    def but(position, value):
        return tuple(value if i == position else argument for i, argument in enumerate(good))

    return {
        "codes is uint8 of shape (1535,); pass uint8 of shape (1536,)": but(0, codes[:-1]),
        "codes is int8 of shape (1536,); pass uint8 of shape (1536,)": but(0, codes.view(np.int8)),
        "codes is not contiguous; pass numpy.ascontiguousarray(codes)": but(0, np.repeat(codes, 2)[::2]),
        "codes is a list; pass a NumPy array of uint8": but(0, codes.tolist()),
        "offset is float32 of shape (20,); pass float64 of shape (20)": but(2, offset.astype(np.float32)),
        "scale is float64 of shape (19,); pass float64 of shape (20)": but(3, scale[1:]),
        "v is float64 of shape (2, 20); pass float64 of shape (any, 21)": but(4, case.v[:, 1:].copy()),
        "v is not contiguous; pass numpy.ascontiguousarray(v)": but(4, np.asfortranarray(case.v)),
        "out is float32 of shape (40,); pass float32 of shape (2, 40)": but(5, out[0]),
        "out receives results but is read-only; pass a writable array": but(5, read_only(out.copy())),
    }


@pytest.mark.parametrize("message", bad_arguments())
def test_arrays_that_cannot_be_used_are_refused_with_what_came_and_what_is_allowed(message):
    with pytest.raises(DataError) as refusal:
        native.packed_margins(*bad_arguments()[message])
    assert str(refusal.value).replace(",)", ")") == message.replace(",)", ")")


def test_other_arguments_are_checked_too():
    case = Case(40, 20, 8, 2)
    out = np.zeros((2, 40), np.float32)
    with pytest.raises(ParameterError, match=r"segments=\(0, 9\); the matrix has segments 0 to 1"):
        native.packed_margins(case.codes, case.layout, *case.grid, case.v, out, segments=(0, 9))
    with pytest.raises(DataError, match="weights have 3 rows; pass 1, or"):
        native.packed_curvature(case.codes, case.layout, *case.grid, case.v, case.weights(3), None, out)
    codes = np.zeros(case.layout.n_bytes, np.uint8)
    for first, rows in [(8, 16), (16, 10), (32, 16)]:
        with pytest.raises(DataError, match="blocks of rows start at a multiple of 16"):
            native.pack_rows(case.x(np.float32)[:rows], case.layout, *case.grid, codes, first)
    with pytest.raises(DataError, match=r"rows \[39, 41\) of 40 into out with 2 rows"):
        native.unpack_rows(codes, case.layout, *case.grid, 39, 2, np.zeros((2, 20)))
    with pytest.raises(ParameterError, match="rounding='down' is unknown"):
        native.pack_rows(case.x(np.float32), case.layout, *case.grid, codes, 0, rounding="down")
    with pytest.raises(DataError, match=r"weights is float64 of shape \(39,\); pass float64 of shape \(40\)"):
        native.gap_squares(codes, case.layout, np.ones(39))
    with pytest.raises(ParameterError, match=r"segments=\(1, 1\)"):
        native.gap_squares(codes, case.layout, None, segments=(1, 1))
    draws = Case(40, 20, 8, n_draws=2).layout
    with pytest.raises(ParameterError, match="rounding='nearest' with 2 draws"):
        native.pack_rows(case.x(np.float32), draws, *case.grid, codes, 0)
    with pytest.raises(ParameterError, match="bits=5"):
        native.column_scales(case.x(np.float32), 5)
    with pytest.raises(DataError, match="sample has no rows"):
        native.column_scales(np.zeros((0, 3)), 8)
