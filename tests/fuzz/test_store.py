"""Mutated stores: a clear error or a store that works. Caught: sizes that were not compared with the file,

entries of a wrong type, and JSON nested deeper than Python's stack.
"""

import os

from tests.fuzz.mutate import MUTATIONS, fuzz

COUNT = int(os.environ.get("MEZZOTINT_FUZZ", "3000"))


def test_a_mutated_store_is_refused_or_works():
    outcomes = fuzz(COUNT)
    assert sum(outcomes.values()) == COUNT
    assert outcomes["codes", "opened"] > COUNT / 50
    refused = {kind for kind, outcome in outcomes if outcome == "refused"}
    assert refused >= set(MUTATIONS) - {"codes"}
    assert outcomes["truncate", "opened"] == 0
