"""Would catch: codes stored elsewhere than documented, segments or blocks that depend on more than the shape.

Seen to fail when the two nibbles of a byte were swapped and when the last segment was dropped.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.errors import DataError, ParameterError
from mezzotint.kernels import Layout, segment_bounds
from mezzotint.kernels.layout import MAX_COLUMNS, MAX_SEGMENTS

SHAPES = {"n_rows": st.integers(0, 10**8), "n_columns": st.integers(1, MAX_COLUMNS)}


def place(layout, i, j):
    """Byte and shift of the code of row i, column j, as the docstring of Layout words it."""
    line_columns = 16 if layout.bits == 8 else 32
    line, group = j // line_columns, j // 16
    lines_per_row = layout.padded_columns // line_columns
    tile, row, column = j % 16 // 4, i % 4, j % 4
    byte = (i // 4 * lines_per_row + line) * 64 + tile * 16 + row * 4 + column
    return byte, 4 if layout.bits == 4 and group % 2 else 0


@pytest.mark.parametrize("bits", [8, 4])
def test_every_code_lies_where_the_layout_says(bits, kernel_set):
    from mezzotint.kernels import ops

    layout = Layout(n_rows=21, n_columns=50, bits=bits)
    x = np.random.default_rng(0).integers(0, 2**bits, (21, 50)).astype(np.float32)
    codes = np.full(layout.n_bytes, 77, np.uint8)
    ops().pack_rows(x, layout, np.zeros(50), np.ones(50), codes, 0)
    wanted = np.zeros(layout.n_bytes, np.uint8)
    for i in range(21):
        for j in range(50):
            byte, shift = place(layout, i, j)
            wanted[byte] |= np.uint8(int(x[i, j]) << shift)
    np.testing.assert_array_equal(codes, wanted)


@given(**SHAPES)
def test_segments_cover_all_rows_in_multiples_of_16(n_rows, n_columns):
    bounds = segment_bounds(n_rows, n_columns)
    assert bounds[0] == 0
    assert bounds[-1] == n_rows
    assert len(bounds) <= MAX_SEGMENTS + 1
    assert (np.diff(bounds) > 0).all()
    assert (bounds[:-1] % 16 == 0).all()


@given(**SHAPES, bits=st.sampled_from([4, 8]))
def test_sizes_fit_together(n_rows, n_columns, bits):
    layout = Layout(n_rows=n_rows, n_columns=n_columns, bits=bits)
    assert 0 <= layout.padded_rows - n_rows < 16
    assert 0 <= layout.padded_columns - n_columns < 128 // bits
    assert layout.n_bytes == layout.padded_rows * layout.padded_columns * bits // 8
    assert layout.block_rows % 16 == 0
    assert 16 <= layout.block_rows <= 512
    assert layout.n_bytes % 64 == 0


@given(n_rows=st.integers(1, 200), n_columns=st.integers(1, 200), bits=st.sampled_from([4, 8]))
def test_memory_for_codes_starts_at_a_cache_line(n_rows, n_columns, bits):
    layout = Layout(n_rows=n_rows, n_columns=n_columns, bits=bits)
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
        ({"bits": 5}, ParameterError, "bits=5; allowed: 4 or 8"),
        ({"n_rows": -1}, DataError, "n_rows=-1; a matrix has 0 rows or more"),
        ({"n_columns": 0}, DataError, "n_columns=0; a packed matrix has 1 to 65536 columns"),
        ({"n_columns": 65_537}, DataError, "n_columns=65537; a packed matrix has 1 to 65536 columns"),
    ],
)
def test_impossible_layouts_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        Layout(**({"n_rows": 3, "n_columns": 3, "bits": 8} | change))
