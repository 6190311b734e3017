"""Would catch: a claim in docs/claims.md whose test or result file is gone."""

import pathlib
import re
from itertools import pairwise

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "claims.md"
RULE = set("|-: ")
EVIDENCE = re.compile(r"`((?:tests|benchmarks|examples)/[\w./-]+)(?:::(\w+))?`")


def evidence():
    return EVIDENCE.findall(PAGE.read_text()) if PAGE.exists() else []


def test_every_file_named_as_evidence_exists():
    assert not [path for path, _ in evidence() if not (ROOT / path).exists()]


def test_every_test_named_as_evidence_exists():
    named = [(path, test) for path, test in evidence() if test]
    assert not [f"{path}::{test}" for path, test in named if f"def {test}(" not in (ROOT / path).read_text()]


def test_every_claim_names_its_evidence():
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    tables = [line if line.startswith("|") else "" for line in [*lines, ""]]
    # The row above a rule is the header of its table.
    claims = [
        row for row, below in pairwise(tables) if row and not {*row} <= RULE and not below.startswith("|--")
    ]
    assert claims
    assert not [row for row in claims if not EVIDENCE.search(row)]
