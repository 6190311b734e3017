"""Fixtures of all tests. No test sets thread variables, global seeds or tolerances of its own."""

import os
import zlib

import hypothesis
import numpy as np
import pytest

import mezzotint
from mezzotint import kernels

hypothesis.settings.register_profile("mezzotint", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("mezzotint")


def pytest_report_header():
    return (
        f"mezzotint {mezzotint.__version__} from {os.path.dirname(mezzotint.__file__)}; "
        f"kernels {kernels.using()} of {', '.join(kernels.available())}; {os.cpu_count()} cores"
    )


@pytest.fixture
def rng(request):
    """A random generator seeded by the test's name: the same numbers on every run, others in every test."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(params=kernels.available())
def kernel_set(request):
    """Runs the test once on the reference and once on every instruction set this machine has."""
    with kernels.use(request.param):
        yield request.param
