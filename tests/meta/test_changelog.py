"""Would catch: a changelog not in the Keep a Changelog form, or without the version of the package."""

import pathlib
import re

import mezzotint

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "CHANGELOG.md").read_text()
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Numerics"}


def test_the_first_section_is_unreleased():
    assert re.findall(r"^## (.+)$", TEXT, re.M)[0] == "[Unreleased]"


def test_released_sections_carry_a_version_and_a_date():
    for title in re.findall(r"^## (.+)$", TEXT, re.M)[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", title), title


def test_headings_are_the_known_kinds():
    assert set(re.findall(r"^### (.+)$", TEXT, re.M)) <= KINDS


def test_the_version_of_the_package_is_released_or_next():
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", TEXT, re.M)
    assert mezzotint.__version__ in released or f"`{mezzotint.__version__}`" in TEXT.split("\n## ")[1]
