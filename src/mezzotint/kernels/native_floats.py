"""TEMPORARY: the reference, until the compiled kernels of this area exist."""

from mezzotint.kernels.reference.floats import *  # noqa: F403
