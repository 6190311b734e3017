"""The readable twin of every kernel, in plain NumPy."""

from mezzotint.kernels.reference.checksum import *  # noqa: F403
from mezzotint.kernels.reference.dense import *  # noqa: F403
from mezzotint.kernels.reference.floats import *  # noqa: F403
from mezzotint.kernels.reference.halp import *  # noqa: F403
from mezzotint.kernels.reference.packed import *  # noqa: F403
from mezzotint.kernels.reference.packed_scales import *  # noqa: F403
from mezzotint.kernels.reference.zipml import *  # noqa: F403
