"""Warnings that name the line of the user's program, however deep inside the package they arise."""

import sys
import warnings
from types import FrameType


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the first frame outside the package.

    Python 3.12 has `skip_file_prefixes` for this; 3.11 has not.
    """
    frame: FrameType | None = sys._getframe(1)
    level = 2  # of `frame`: 1 is this function itself
    while frame is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "mezzotint"
