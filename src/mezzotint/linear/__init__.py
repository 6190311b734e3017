"""Linear models trained on packed data."""

from mezzotint.linear import threadpool as _threadpool
from mezzotint.linear.estimators import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge
from mezzotint.linear.path import Path
from mezzotint.linear.result import Iteration, Result, Status

__all__ = [
    "Iteration",
    "LinearRegression",
    "LinearSVC",
    "LinearSVR",
    "LogisticRegression",
    "Path",
    "Result",
    "Ridge",
    "Status",
]

_threadpool.register()
