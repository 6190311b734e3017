"""Would catch: public docstrings that name wrong parameters, or whose sections or examples are broken."""

import doctest
import importlib
import inspect
import pkgutil
import re

import numpydoc.validate
import pytest

import mezzotint

# GL: sections known and in order; SS: the summary is a sentence; PR, RT: parameters and results fit.
WELL_FORMED = re.compile("GL03|GL06|GL07|GL08|GL10|SS01|SS03|SS04|PR02|PR05|PR10")
COMPLETE = re.compile(WELL_FORMED.pattern + "|PR01|PR04|PR07")
API = (
    "mezzotint",
    "mezzotint.expansions",
    "mezzotint.formats",
    "mezzotint.packed",
    "mezzotint.linear",
    "mezzotint.monitor",
    "mezzotint.random",
)


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
    """What the public packages offer, by full name where it is defined."""
    objects = {}
    for package in API:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name, None)
            if inspect.isroutine(value) or inspect.isclass(value):
                objects[f"{value.__module__}.{value.__qualname__}"] = value
    return objects


def writes_its_own_init(cls):
    """Dataclasses, enums, protocols and named tuples document their fields instead."""
    init = vars(cls).get("__init__")
    return inspect.isfunction(init) and init.__code__.co_filename == inspect.getsourcefile(cls)


def codes_for(name, complete):
    """Which checks apply to the object called `name`."""
    if name not in complete or (inspect.isclass(complete[name]) and not writes_its_own_init(complete[name])):
        return WELL_FORMED
    return COMPLETE


def problems(name, codes):
    found = numpydoc.validate.validate(name)["errors"]
    return [f"{code} {text}" for code, text in found if codes.match(code)]


@pytest.mark.parametrize("module", modules())
def test_docstrings_are_well_formed(module):
    complete = offered()
    names = list(defined_in(importlib.import_module(module)))
    found = {name: problems(name, codes_for(name, complete)) for name in names}
    assert not {name: texts for name, texts in found.items() if texts}


@pytest.mark.parametrize("module", modules())
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
