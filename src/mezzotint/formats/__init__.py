"""Number formats: finite sets of values, how real numbers are rounded to them, and their codes."""

from mezzotint.formats.codec import EncodedArray, decode, decode_scalar, encode, encode_scalar
from mezzotint.formats.levels import optimal_levels, quantisation_variance
from mezzotint.formats.rounding import Rounding
from mezzotint.formats.spec import FixedPoint, Format

__all__ = [
    "EncodedArray",
    "FixedPoint",
    "Format",
    "Rounding",
    "decode",
    "decode_scalar",
    "encode",
    "encode_scalar",
    "optimal_levels",
    "quantisation_variance",
]
