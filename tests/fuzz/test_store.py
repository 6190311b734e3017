"""Mutated stores: a clear error or a store that works. Caught: sizes of a header allocated before they were compared

with the file, a shard's rows taken from its own header, and scales that were not finite.
"""

import os

from tests.fuzz.mutate import MUTATIONS, fuzz

COUNT = int(os.environ.get("MEZZOTINT_FUZZ", "3000"))


def test_a_mutated_store_is_refused_or_works():
    outcomes = fuzz(COUNT)
    assert sum(outcomes.values()) == COUNT
    assert outcomes["codes", "opened"] > outcomes["codes", "refused"]
    refused = {kind for kind, outcome in outcomes if outcome == "refused"}
    assert refused >= set(MUTATIONS) - {"codes"}
    assert outcomes["truncate", "opened"] == 0
