"""Would catch: public docstrings with unknown, missing or misordered parameters, or malformed sections."""

import importlib
import inspect
import pkgutil
import re

import numpydoc.validate
import pytest

import mezzotint

# GL: sections known and in order; SS: the summary is a sentence; PR, RT: parameters and results fit.
WELL_FORMED = re.compile("GL03|GL06|GL07|GL08|GL10|SS01|SS02|SS03|SS04|PR02|PR03|PR05|PR10|RT02")
COMPLETE = re.compile(WELL_FORMED.pattern + "|PR01|PR04|PR07|RT03")
API = ("mezzotint", "mezzotint.formats", "mezzotint.packed", "mezzotint.linear", "mezzotint.random")


def modules():
    """Every module of the package whose path has no private part."""
    found = pkgutil.walk_packages(mezzotint.__path__, "mezzotint.")
    return [
        "mezzotint",
        *(m.name for m in found if not any(part.startswith("_") for part in m.name.split("."))),
    ]


def defined_in(module):
    """Public functions and classes of `module`, with the public methods of the classes."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isroutine(value) or inspect.isclass(value):
            yield f"{module.__name__}.{name}"
        if inspect.isclass(value):
            methods = {n: m for n, m in vars(value).items() if not n.startswith("_")}
            yield from (
                f"{module.__name__}.{name}.{n}"
                for n, m in methods.items()
                if inspect.isroutine(m) or isinstance(m, property | classmethod | staticmethod)
            )


def offered():
    """Full names of what the public packages offer, where it is defined."""
    names = set()
    for package in API:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name, None)
            if inspect.isroutine(value) or inspect.isclass(value):
                names.add(f"{value.__module__}.{value.__qualname__}")
    return names


def problems(name, codes):
    found = numpydoc.validate.validate(name)["errors"]
    return [f"{code} {text}" for code, text in found if codes.match(code)]


@pytest.mark.parametrize("module", modules())
def test_docstrings_are_well_formed(module):
    complete = offered()
    found = {}
    for name in defined_in(importlib.import_module(module)):
        codes = COMPLETE if name in complete else WELL_FORMED
        found[name] = problems(name, codes)
    assert not {name: texts for name, texts in found.items() if texts}
