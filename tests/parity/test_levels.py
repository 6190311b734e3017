"""Tables of levels: the bytes of the reference from every instruction set.

Caught, each made on purpose and seen to fail here: AVX2 without the upper half of the table, gaps of 1 for
every odd sum, the first draw twice, a value on a level counted to the interval below, a probability from the
gap of the interval below, the middle code of the width instead of 128.
"""

import numpy as np
import pytest
from tests.parity.cases import FILLS, TABLED, Case, some_levels
from tests.parity.operations import (
    EVERY_ISA,
    OPERATIONS,
    PRODUCTS,
    assert_every_edge_shape_agrees,
    assert_same_bytes,
    expected,
)
from tests.parity.test_halp import make_case as halp_case
from tests.parity.test_zipml import assert_same
from tests.parity.test_zipml import make_case as zipml_case

from mezzotint import kernels
from mezzotint.errors import ParameterError
from mezzotint.kernels import Layout, native, reference
from mezzotint.kernels.reference.tiles import to_tiles

BITS = pytest.mark.parametrize("bits", TABLED)
RANDOM = [name for name in OPERATIONS if not name.startswith("pack") or "stochastic" in name]
DRAWS = [(5, 2), (4, 2), (4, 1), (3, 2), (2, 2)]  # stored bits and draws


@EVERY_ISA
@BITS
@pytest.mark.parametrize("operation", RANDOM)
def test_every_edge_shape_with_a_table_gives_the_bytes_of_the_reference(operation, bits, isa):
    assert_every_edge_shape_agrees(operation, bits, isa, has_levels=True)


@EVERY_ISA
@pytest.mark.parametrize("operation", RANDOM)
def test_two_draws_of_three_bits_look_up_the_sums_of_their_levels(operation, isa):
    assert_every_edge_shape_agrees(operation, 4, isa, n_draws=2, has_levels=True)


@EVERY_ISA
@BITS
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("operation", PRODUCTS)
def test_table_values_at_their_limits_give_the_bytes_of_the_reference(operation, fill, bits, isa):
    with kernels.use(isa):
        for rows, columns, outputs in [(1, 1, 1), (600, 33, 3), (70, 1030, 14)]:
            case = Case(rows, columns, bits, outputs, fill, has_levels=True)
            assert_same_bytes(OPERATIONS[operation](native, case), expected(operation, case), case)


@EVERY_ISA
@BITS
@pytest.mark.parametrize(("n", "d"), [(17, 17), (65, 33), (401, 129)])
def test_a_descent_on_looked_up_codes_equals_the_reference_bit_for_bit(isa, n, d, bits):
    case = zipml_case("squared", n, d, bits, 2, corrects=True, has_levels=True, rate=0.002)
    expected_result = reference.zipml_epoch(*case)
    with kernels.use(isa):
        for n_threads in (1, 3):
            assert_same(native.zipml_epoch(*case, n_threads=n_threads), expected_result)


@EVERY_ISA
@BITS
@pytest.mark.parametrize(("n", "d"), [(17, 17), (65, 33), (401, 129)])
def test_an_inner_epoch_on_looked_up_codes_equals_the_reference_bit_for_bit(isa, n, d, bits):
    levels = some_levels(bits, 1 if bits == 4 else 2)
    case = halp_case("squared", n, d, bits, 2, levels=levels, step=1e-6)
    truth = reference.halp_epoch(*case)
    with kernels.use(isa):
        for n_threads in (1, 3):
            result = native.halp_epoch(*case, n_threads=n_threads)
            np.testing.assert_array_equal(result.average, truth.average)
            assert (result.doublings, result.finite) == (truth.doublings, True)


@pytest.mark.parametrize(("bits", "n_draws"), DRAWS)
@pytest.mark.parametrize("name", kernels.available())
def test_every_code_decodes_to_the_sum_of_the_levels_that_it_stands_for(name, bits, n_draws):
    levels = some_levels(bits, n_draws, 1)
    pairs = [
        (i, j) for i in range(len(levels)) for j in ((i, i + 1) if n_draws == 2 else (i,)) if j < len(levels)
    ]
    layout = Layout(n_rows=1, n_columns=len(pairs), bits=bits, n_draws=n_draws, levels=levels)
    codes, out = layout.empty_codes(), np.zeros((1, len(pairs)))
    q = np.zeros((16, layout.padded_columns), np.uint8)
    q[0, : len(pairs)] = [i + j if n_draws == 2 else i for i, j in pairs]
    codes[:] = to_tiles(q, layout)
    with kernels.use(name):
        kernels.ops().unpack_rows(codes, layout, np.zeros(len(pairs)), np.ones(len(pairs)), 0, 1, out)
        squares = kernels.ops().gap_squares(codes, layout, None)
    np.testing.assert_array_equal(out[0], [levels[i] + (n_draws - 1) * levels[j] for i, j in pairs])
    np.testing.assert_array_equal(squares[0], [(levels[j] - levels[i]) ** 2 for i, j in pairs])


@pytest.mark.parametrize(("bits", "n_draws"), DRAWS)
@pytest.mark.parametrize("name", kernels.available())
def test_values_on_levels_are_kept_and_those_between_are_rounded_without_bias(name, bits, n_draws):
    levels = some_levels(bits, n_draws, 2)
    x = np.tile(np.arange(0, 4 * levels[-1] + 1) / 4, (512, 1))
    d, rows = x.shape[1], len(x)
    layout = Layout(n_rows=rows, n_columns=d, bits=bits, n_draws=n_draws, levels=levels)
    codes, out, copies = layout.empty_codes(), np.empty_like(x), 8
    offset, scale, total = np.zeros(d), np.full(d, 1 / n_draws), np.zeros(d)
    with kernels.use(name):
        for draw in range(copies):
            kernels.ops().pack_rows(
                x, layout, offset, scale, codes, 0, rounding="stochastic", seed=3, draw=n_draws * draw
            )
            kernels.ops().unpack_rows(codes, layout, offset, scale, 0, rows, out)
            total += out.sum(axis=0)
    places, value = np.array(levels), x[0]
    below = np.minimum(np.searchsorted(places, value, side="right") - 1, len(places) - 2)
    deviation = np.sqrt((places[below + 1] - value) * (value - places[below]) / (n_draws * copies * rows))
    error = total / (copies * rows) - value
    exact = np.isin(value, places)
    np.testing.assert_array_equal(error[exact], 0)
    z = error[~exact] / deviation[~exact]
    assert np.abs(z).max() < 5  # of at most 1021 normal numbers: one run in 1700 is beyond
    assert abs(np.mean(z * z) - 1) < 5 * np.sqrt(2 / len(z))


def test_levels_that_cannot_be_used_are_refused():
    for levels in [(0, 3, 2, 9), (0, 1, 2), (1, 2, 3, 4), (0, 1, 2, 128)]:
        with pytest.raises(ParameterError, match="levels"):
            Layout(n_rows=3, n_columns=3, bits=3, n_draws=2, levels=levels)
    with pytest.raises(ParameterError, match="codes of at most 5 bits"):
        Layout(n_rows=3, n_columns=3, bits=8, levels=tuple(range(256)))
    case = Case(16, 16, 4, has_levels=True)
    with pytest.raises(ParameterError, match="rounding='nearest' with uneven levels"):
        native.pack_rows(case.x(np.float32), case.layout, *case.grid, np.zeros_like(case.codes), 0)
