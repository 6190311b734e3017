"""A pytest plugin: scikit-learn's test modules get the shim's classes, and every outcome is written down."""

import json
import os
import sys

import pytest
from tests.conformance import shim

OUTCOMES = os.environ["MEZZOTINT_CONFORMANCE_OUTCOMES"]


def _counted(fit, theirs):
    """`fit` of one of scikit-learn's originals, which nobody should call: counts it."""

    def counting(self, *args, **kwargs):
        shim.fits["theirs"] += type(self) is theirs
        return fit(self, *args, **kwargs)

    return counting


def _replace_everywhere():
    """Put the shim's classes where modules of scikit-learn that are loaded have the originals."""
    for theirs, mine in zip(shim.THEIRS, shim.SHIMS, strict=True):
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "sklearn" and vars(module).get(theirs.__name__) is theirs:
                setattr(module, theirs.__name__, mine)
        theirs.fit = _counted(theirs.fit, theirs)


_replace_everywhere()


def _name_of(item):
    """`linear_model.tests.test_ridge::test_name[parameters]`."""
    module = item.module.__name__.removeprefix("sklearn.")
    return f"{module}::{item.nodeid.partition('::')[2]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    shim.fits.clear()
    item.outcome = {"test": _name_of(item), "outcome": "passed", "why": "", "seconds": 0.0}
    result = yield
    with open(OUTCOMES, "a") as file:
        file.write(
            json.dumps({**item.outcome, "ours": shim.fits["ours"], "theirs": shim.fits["theirs"]}) + "\n"
        )
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.outcome["seconds"] += call.duration
    if report.outcome != "passed":
        item.outcome["outcome"] = report.outcome
        item.outcome["why"] = _why(call.excinfo.value if call.excinfo else None)
    return report


def _why(error):
    """Type and words of an exception, and of those that it came from."""
    words = []
    while error is not None:
        words.append(f"{type(error).__name__}: {str(error)[:6000]}")
        error = error.__cause__ or error.__context__
    return " <- ".join(words)
