"""What threadpoolctl sees: ``threadpool_limits(1)`` caps our threads, ``threadpool_info()`` lists them."""

import os

import threadpoolctl

from mezzotint import __version__
from mezzotint.kernels import threads


class MezzotintController(threadpoolctl.LibController):  # type: ignore[misc]
    """Caps the threads of calls with ``n_jobs=None``; an explicit n_jobs is the caller's own decision."""

    user_api = "mezzotint"
    internal_api = "mezzotint"
    filename_prefixes = ("_native",)
    check_symbols = ("mezzotint_kernels",)

    def get_num_threads(self) -> int:
        """Return the cap, all cores if there is none.

        Deliberately blind to joblib: the value is handed back to `set_num_threads` when a limit
        ends, perhaps in another context than the one it was read in.
        """
        limit = threads.thread_limit()
        return _cores() if limit is None else limit

    def set_num_threads(self, num_threads: int) -> None:
        """Set the cap; as many threads as cores, or more, is none."""
        threads.set_thread_limit(None if num_threads >= _cores() else num_threads)

    def get_version(self) -> str:
        """Return the version of mezzotint."""
        return __version__


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def register() -> None:
    """Make the controller known to threadpoolctl; further calls do nothing."""
    threadpoolctl.register(MezzotintController)
