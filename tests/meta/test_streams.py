"""Caught: one stream of random bits for two uses. Would catch: a number that is not in mezzotint.random."""

import ast
import pathlib
import re

import pytest

import mezzotint
from mezzotint.random import Stream

PACKAGE = pathlib.Path(mezzotint.__file__).parent
NATIVE = pathlib.Path(__file__).resolve().parents[2] / "native"
ROOMS = ("kernels", "kernels/reference", "packed", "linear")
IN_NATIVE = {
    "rounding_stream": Stream.HALP_ROUNDING,
    "coefficient_stream": Stream.ZIPML_COEFFICIENTS,
    "model_stream": Stream.ZIPML_MODEL,
    "gradient_stream": Stream.ZIPML_GRADIENT,
}


def sources():
    """What runs on users' seeds; the papers' textbook has lists of its own."""
    files = [path for room in ROOMS for path in PACKAGE.glob(f"{room}/*.py") if "textbook" not in path.name]
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text()) for path in files}


def is_number(node):
    return any(isinstance(part, ast.Constant) and isinstance(part.value, int) for part in ast.walk(node))


def own_numbers(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "stream" and is_number(node.value):
            yield ast.unparse(node)
        named = isinstance(node, ast.Assign) and "STREAM" in ast.unparse(node.targets[0]).upper()
        if named and is_number(node.value):
            yield ast.unparse(node)


def members(tree):
    """Streams that a file names, and how often."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Stream":
            yield node.attr


def test_numbers_of_streams_have_one_home():
    found = {name: list(own_numbers(tree)) for name, tree in sources().items()}
    assert not {name: numbers for name, numbers in found.items() if numbers}


# The compiled packing is the reference's twin: the same bits on purpose.
TWINS = {"PACKING": {"kernels/reference/packed.py", "kernels/native_packed.py"}}


def test_every_stream_is_used_and_by_one_file():
    users = {stream.name: set() for stream in Stream}
    for name, tree in sources().items():
        for member in members(tree):
            users[member].add(name)
    assert not {name: by for name, by in users.items() if len(by) != 1 and by != TWINS.get(name)}


@pytest.mark.parametrize("name", IN_NATIVE)
def test_native_code_has_the_same_numbers(name):
    text = "".join(path.read_text() for path in sorted(NATIVE.glob("*.cpp")))
    numbers = re.findall(rf"{name} = (0x[0-9A-Fa-f]+)", text)
    assert [int(number, 16) for number in numbers] == [IN_NATIVE[name]]
