"""Would catch: dead links, README code that does not run, commands that no page teaches."""

import pathlib
import re

import pytest
import typer.main

from mezzotint import cli

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def page_id(path):
    return str(path.relative_to(ROOT))


def without_code(text):
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchors(text):
    """The anchors that headings get on GitHub and in Sphinx."""
    titles = re.findall(r"^#+ (.+)$", without_code(text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_relative_link_leads_somewhere(page):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file.read_text())):
            dead.append(target)
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_no_page_names_a_path_outside_the_project(page):
    assert not re.findall(r"(?:/work|/tmp|\.\./shared|/home|/root)/\S*", page.read_text())


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.S)


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=page_id)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for number, block in enumerate(python_blocks(page), 1):
        exec(compile(block, f"{page.name}, python block {number}", "exec"), names)


def commands():
    """Name and help text of every command."""
    app = typer.main.get_command(cli.app)
    return {name: command.help for name, command in app.commands.items()}


def test_every_command_has_a_help_text():
    assert not [name for name, text in commands().items() if not text]


def test_every_command_appears_in_the_docs():
    text = "".join(page.read_text() for page in PAGES)
    assert not [name for name in commands() if f"mezzotint {name}" not in text]
