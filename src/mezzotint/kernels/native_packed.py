"""TEMPORARY: the reference, until the compiled kernels of this area exist."""

from mezzotint.kernels.reference.packed import *  # noqa: F403
from mezzotint.kernels.reference.packed_scales import *  # noqa: F403
