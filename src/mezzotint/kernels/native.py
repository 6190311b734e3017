"""Checks and calls of the compiled kernels; same functions as mezzotint.kernels.reference."""

from mezzotint.kernels.native_checksum import *  # noqa: F403
from mezzotint.kernels.native_dense import *  # noqa: F403
from mezzotint.kernels.native_floats import *  # noqa: F403
from mezzotint.kernels.native_halp import *  # noqa: F403
from mezzotint.kernels.native_packed import *  # noqa: F403
from mezzotint.kernels.native_zipml import *  # noqa: F403
