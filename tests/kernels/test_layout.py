"""Would catch: codes stored elsewhere than documented, segments or blocks that depend on more than the shape.

Seen to fail when the two nibbles of a byte were swapped, when the last bits came before the lines and when
the last segment was dropped, or partials were let grow to 64 MB.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, ops, segment_bounds
from mezzotint.kernels.layout import MAX_COLUMNS, MAX_SEGMENTS

SHAPES = {"n_rows": st.integers(0, 10**8), "n_columns": st.integers(1, MAX_COLUMNS)}


WIDE_BITS = {8: 8, 5: 4, 4: 4, 3: 2, 2: 2}
WIDTHS = st.sampled_from([(8, 1), (4, 1), (8, 2), (5, 2), (4, 2), (3, 2), (2, 2)])


def places(layout, i, j):
    """(byte, shift) of the code of row i, column j, and of its last bit, as the docstring of Layout says."""
    wide = WIDE_BITS[layout.bits]
    line_columns = 16 * 8 // wide
    lines_per_row = layout.padded_columns // line_columns
    row_group = i // 4 * (lines_per_row * 64 + (layout.padded_columns // 16 * 8 if layout.bits % 2 else 0))
    in_line = j % 16 // 4 * 16 + i % 4 * 4 + j % 4
    line = row_group + j // line_columns * 64 + in_line, j % line_columns // 16 * wide
    last = row_group + lines_per_row * 64 + j // 16 * 8 + in_line // 8, in_line % 8
    return line, last


def stored(layout, codes):
    wanted = np.zeros(layout.n_bytes, np.uint8)
    for (i, j), code in np.ndenumerate(codes):
        line, last = places(layout, i, j)
        if layout.bits % 2:
            wanted[last[0]] |= np.uint8(int(code) % 2 << last[1])
        wanted[line[0]] |= np.uint8(int(code) >> layout.bits % 2 << line[1])
    return wanted


@pytest.mark.parametrize(("bits", "n_draws"), [(8, 1), (4, 1), (8, 2), (5, 2), (4, 2), (3, 2), (2, 2)])
def test_every_code_lies_where_the_layout_says(bits, n_draws, kernel_set):
    layout = Layout(n_rows=21, n_columns=90, bits=bits, n_draws=n_draws)
    x = np.random.default_rng(0).integers(0, n_draws * layout.last_level + 1, (21, 90)).astype(np.float32)
    codes = np.full(layout.n_bytes, 77, np.uint8)
    ops().pack_rows(x, layout, np.zeros(90), np.ones(90), codes, 0, rounding="stochastic")
    values = np.empty_like(x)
    ops().unpack_rows(codes, layout, np.zeros(90), np.ones(90), 0, 21, values)
    assert np.abs(values - x).max() <= n_draws - 1  # two draws of half a level: 0, 1 or 2
    np.testing.assert_array_equal(codes, stored(layout, values))


@given(**SHAPES)
def test_segments_cover_all_rows_in_multiples_of_16(n_rows, n_columns):
    bounds = segment_bounds(n_rows, n_columns)
    assert bounds[0] == 0
    assert bounds[-1] == n_rows
    assert len(bounds) <= MAX_SEGMENTS + 1
    assert (np.diff(bounds) > 0).all()
    assert (bounds[:-1] % 16 == 0).all()


@pytest.mark.parametrize("n_columns", [1, 64, 5_000, 40_000])
def test_partials_of_one_output_take_at_most_32_mb_and_of_several_as_often(n_columns):
    n_segments = len(segment_bounds(2**31, n_columns)) - 1
    assert n_segments * n_columns * 8 <= 32 * 2**20
    layout = Layout(n_rows=600, n_columns=n_columns, bits=8)
    codes, zeros, ones = np.zeros(layout.n_bytes, np.uint8), np.zeros(n_columns), np.ones(n_columns)
    sizes = [
        ops().packed_gradient(codes, layout, zeros, ones, np.zeros((K, 600), np.float32)).nbytes
        for K in (1, 3)
    ]
    assert sizes == [(len(layout.segments) - 1) * (n_columns + 1) * 8 * K for K in (1, 3)]


@given(**SHAPES, width=WIDTHS)
def test_sizes_fit_together(n_rows, n_columns, width):
    bits, n_draws = width
    layout = Layout(n_rows=n_rows, n_columns=n_columns, bits=bits, n_draws=n_draws)
    assert 0 <= layout.padded_rows - n_rows < 16
    assert 0 <= layout.padded_columns - n_columns < 128 // WIDE_BITS[bits]
    assert n_draws * layout.last_level < 2**bits
    assert 2**layout.level_bits == layout.last_level + 1
    assert layout.n_bytes == layout.padded_rows * layout.padded_columns * bits // 8
    assert layout.block_rows % 16 == 0
    assert 16 <= layout.block_rows <= 512
    assert layout.n_bytes % 64 == 0


@given(n_rows=st.integers(1, 200), n_columns=st.integers(1, 200), width=WIDTHS)
def test_memory_for_codes_starts_at_a_cache_line(n_rows, n_columns, width):
    layout = Layout(n_rows=n_rows, n_columns=n_columns, bits=width[0], n_draws=width[1])
    codes = layout.empty_codes()
    assert codes.shape == (layout.n_bytes,)
    assert codes.ctypes.data % 64 == 0
    assert codes.flags.c_contiguous


def test_no_rows_are_no_segments():
    np.testing.assert_array_equal(segment_bounds(0, 5), [0])
    assert len(Layout(n_rows=0, n_columns=5, bits=8).segments) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bits": 5}, ParameterError, "bits=5; allowed: 4 or 8 with n_draws=1"),
        ({"bits": 6, "n_draws": 2}, ParameterError, "bits=6; allowed: 2 or 3 or 4 or 5 or 8 with n_draws=2"),
        ({"n_draws": 3}, ParameterError, "n_draws=3; allowed: 1 or 2"),
        ({"n_rows": -1}, DataError, "n_rows=-1; a matrix has 0 rows or more"),
        ({"n_columns": 0}, DataError, "n_columns=0; a packed matrix has 1 to 65536 columns"),
        ({"n_columns": 65_537}, DataError, "n_columns=65537; a packed matrix has 1 to 65536 columns"),
    ],
)
def test_impossible_layouts_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Layout(**({"n_rows": 3, "n_columns": 3, "bits": 8} | change))
