"""Linear models trained on packed data."""

from mezzotint.linear import threadpool as _threadpool
from mezzotint.linear.estimators import LinearRegression, LinearSVC, LinearSVR, LogisticRegression, Ridge
from mezzotint.linear.path import Path
from mezzotint.linear.result import Flows, Iteration, Result, Status
from mezzotint.linear.zipml import ZipML

__all__ = [
    "Flows",
    "Iteration",
    "LinearRegression",
    "LinearSVC",
    "LinearSVR",
    "LogisticRegression",
    "Path",
    "Result",
    "Ridge",
    "Status",
    "ZipML",
]

_threadpool.register()
