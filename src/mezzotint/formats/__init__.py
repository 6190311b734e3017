"""Number formats: finite sets of values, how real numbers are rounded to them, and their codes."""

from mezzotint.formats.codec import EncodedArray, decode, decode_scalar, encode, encode_scalar
from mezzotint.formats.draws import (
    DecodedDraws,
    assign_pair,
    decode_draws,
    draw_sums,
    draw_variance,
    mean_of_draws,
    pack_sums,
    stored_bits,
    unpack_sums,
)
from mezzotint.formats.levels import optimal_levels, quantisation_variance
from mezzotint.formats.quantiser import (
    ScaledCodes,
    column_scale,
    intervals_of_bits,
    quantise,
    rounding_variance,
    row_scale,
    second_moment_factor,
    sparsity_bound,
    total_variance,
    variance_bound,
)
from mezzotint.formats.rounding import Rounding
from mezzotint.formats.spec import FixedPoint, Format

__all__ = [
    "DecodedDraws",
    "EncodedArray",
    "FixedPoint",
    "Format",
    "Rounding",
    "ScaledCodes",
    "assign_pair",
    "column_scale",
    "decode",
    "decode_draws",
    "decode_scalar",
    "draw_sums",
    "draw_variance",
    "encode",
    "encode_scalar",
    "intervals_of_bits",
    "mean_of_draws",
    "optimal_levels",
    "pack_sums",
    "quantisation_variance",
    "quantise",
    "rounding_variance",
    "row_scale",
    "second_moment_factor",
    "sparsity_bound",
    "stored_bits",
    "total_variance",
    "unpack_sums",
    "variance_bound",
]
