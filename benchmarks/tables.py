"""Writes the tables of README.md and docs/ from the newest results: `python -m benchmarks.tables [--check]`.

A page asks for a table with a pair of markers; what lies between them is replaced:

    <!-- table: import-time -->
    <!-- /table -->
"""

import argparse
import importlib
import json
import pathlib
import re
import sys

from benchmarks.card import one_line
from benchmarks.harness import RESULTS, ROOT, Record, case_names
from benchmarks.training import report

MARKED = re.compile(r"(<!-- table: ([\w.-]+) -->\n)(.*?)(<!-- /table -->)", re.S)


def newest_result(topic: str) -> pathlib.Path | None:
    """The result file of a topic with the latest date, if there is one."""
    return max(RESULTS.glob(f"????-??-??_{topic}.jsonl"), default=None)


def read_result(path: pathlib.Path) -> list[Record]:
    """All records of a result file: the card first."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def render(name: str) -> str:
    """Make the table called `name` from the newest result of the case that offers it."""
    for topic in case_names():
        offered = importlib.import_module(f"benchmarks.cases.{topic}").TABLES
        path = newest_result(topic)
        if name in offered and path:
            result = read_result(path)
            foot = f"<sub>From `{path.relative_to(ROOT)}`: {one_line(result[0])}.</sub>"
            return f"\n{offered[name](result)}\n\n{foot}\n\n"
    if name in report.TABLES:
        return f"\n{report.TABLES[name]()}\n\n"
    raise SystemExit(f"no result for table {name!r}; run its case first (make bench)")


def rendered_page(text: str) -> str:
    """`text` with every marked table made anew."""
    return MARKED.sub(lambda match: match[1] + render(match[2]) + match[4], text)


def stale_pages() -> dict[pathlib.Path, str]:
    """Pages whose tables differ from the results, with their new text."""
    pages = {page: page.read_text() for page in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]}
    fresh = {page: rendered_page(text) for page, text in pages.items()}
    return {page: fresh[page] for page in pages if fresh[page] != pages[page]}


def main() -> None:
    """Rewrite stale pages, or with --check only name them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a page is stale")
    check = parser.parse_args().check
    stale = stale_pages()
    for page, text in stale.items():
        print(f"{page.relative_to(ROOT)}: {'stale' if check else 'rewritten'}")
        if not check:
            page.write_text(text)
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
