"""Would catch: ARCHITECTURE.md and CONTRIBUTING.md naming a file or folder that is gone."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOTS = ("src/", "native/", "tests/", "benchmarks/", "examples/", "docs/", ".ci/", "mezzotint/")


def paths_named_in(text):
    """Everything in backticks that starts with one of our folders, without `::test` or `:line`."""
    quoted = re.findall(r"`([^`\s]+)`", text)
    return sorted({name.split(":")[0] for name in quoted if name.startswith(ROOTS)})


def exists(name):
    path = name if not name.startswith("mezzotint/") else f"src/{name}"
    return any(ROOT.glob(path.rstrip("/"))) if set("*<") & set(path) == {"*"} else (ROOT / path).exists()


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_named_exists(page):
    if not (ROOT / page).exists():
        return
    missing = [n for n in paths_named_in((ROOT / page).read_text()) if "<" not in n and not exists(n)]
    assert not missing
