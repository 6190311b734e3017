"""TEMPORARY: the reference, until the compiled kernels of this area exist."""

from mezzotint.kernels.reference.dense import *  # noqa: F403
