"""Every reproduction in small sizes: caught uniform levels sold as optimal, a naive gradient as double.

Also caught: the two radii exchanged, 2-bit rows in place of 8-bit ones. The statements of each paper must
hold at these sizes too, and a table must fit its columns.
"""

import functools
import json

import pytest

from mezzotint.errors import ParameterError
from mezzotint.reproduce import REPRODUCTIONS, reproduce

SHAPES = {  # rows and columns of the quick tables
    "zipml-levels": (8, 8),
    "zipml-refetch": (6, 8),
    "zipml-chebyshev": (16, 7),
    "zipml-bits": (2, 9),
    "zipml-bias": (5, 5),
    "zipml-minibatch": (6, 6),
    "zipml-optimal": (4, 5),
    "halp-convergence": (9, 6),
}


@functools.cache
def quick(name):
    return reproduce(name, quick=True)


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_the_table_has_its_shape_and_every_statement_holds(name):
    report = quick(name)
    assert (len(report.rows), len(report.columns)) == SHAPES[name]
    assert all(len(row) == len(report.columns) for row in report.rows)
    assert report.findings
    assert not report.failed


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_settings_are_json_and_lines_have_points(name):
    report = quick(name)
    json.dumps(report.settings, allow_nan=False)
    assert report.picture is not None
    assert all(points for points in report.picture.lines.values())


def test_the_same_table_comes_twice():
    assert reproduce("zipml-bias", quick=True).rows == quick("zipml-bias").rows


def test_progress_is_told():
    texts = []
    reproduce("zipml-levels", quick=True, tell=texts.append)
    assert texts == ["uniform values", "normal values", "exponential values", "lognormal values"]


def test_an_unknown_name_is_refused_with_the_names_that_exist():
    with pytest.raises(ParameterError, match="allowed are zipml-levels"):
        reproduce("zipml")
