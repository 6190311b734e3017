"""Would catch: a shard whose bits differ from the same rows of the whole, or that is stored otherwise.

Caught: elements counted from the start of the shard; tensors spared by the size of their shard.
"""

import pytest
import torch
from tests.distributed import jobs
from tests.distributed.launch import needs_gloo, on_ranks

pytestmark = needs_gloo


@pytest.fixture(scope="module")
def two_ranks():
    return on_ranks(2, jobs.train_sharded)


@pytest.mark.parametrize("case", jobs.CASES)
def test_two_ranks_give_the_bits_of_one(two_ranks, case):
    together = jobs.joined([answers[case] for answers in two_ranks])
    torch.testing.assert_close(together, jobs.train_here(case), rtol=0, atol=0)
