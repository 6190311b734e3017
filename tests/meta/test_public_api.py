"""Would catch: a public name that cannot be imported, is not documented, or became public by accident."""

import importlib
import inspect
import pathlib
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = [
    "mezzotint",
    "mezzotint.expansions",
    "mezzotint.formats",
    "mezzotint.packed",
    "mezzotint.linear",
    "mezzotint.monitor",
    "mezzotint.kernels",
    "mezzotint.optim",
    "mezzotint.random",
]


def public_names(package):
    return list(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_in_all_can_be_imported(package):
    module = importlib.import_module(package)
    missing = [name for name in public_names(package) if not hasattr(module, name)]
    assert not missing


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_object_defined_inside_is_in_all(package):
    module = importlib.import_module(package)
    ours = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and str(getattr(value, "__module__", "")).startswith(package)
    }
    assert ours <= set(public_names(package)), "add them to __all__ or start their names with an underscore"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_object_has_a_docstring(package):
    module = importlib.import_module(package)
    objects = {name: getattr(module, name) for name in public_names(package)}
    bare = [
        name
        for name, value in objects.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not inspect.getdoc(value)
    ]
    assert not bare


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed_in_the_api_page(package):
    page = (ROOT / "docs" / "api.md").read_text()
    missing = [name for name in public_names(package) if f"`{package}.{name}`" not in page]
    assert not missing, "docs/api.md lists every public name as `package.name`"


def test_dir_of_mezzotint_lists_the_lazy_names():
    module = importlib.import_module("mezzotint")
    assert set(module.__all__) <= set(dir(module))


def test_an_unknown_attribute_is_an_attribute_error():
    module = importlib.import_module("mezzotint")
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        _ = module.no_such_name
