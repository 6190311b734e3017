"""Sharded parameters: caught sums of one rank reported as those of all, replicas counted twice."""

import pytest
import torch
from tests.distributed.launch import needs_gloo, on_ranks
from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

from mezzotint.monitor import PrecisionMonitor
from mezzotint.optim import AdamW

FIGURES = (
    "elements",
    "intended_norm",
    "effective_norm",
    "edq_ratio",
    "edq_full_ratio",
    "lost",
    "lost_full",
    "v_ratio",
)
SHAPE = (7, 12)  # an uneven number of rows


def whole_run(place):
    """Three steps of a parameter that `place` has put somewhere; figures of the total."""
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(place(torch.randn(SHAPE, generator=generator).bfloat16()))
    optimizer = AdamW([w], lr=1e-2, recipe="24bit")
    with PrecisionMonitor(optimizer, every=3) as monitor:
        for _ in range(3):
            w.grad = place(torch.randn(SHAPE, generator=generator).bfloat16())
            optimizer.step()
    return [getattr(monitor.history[-1], figure) for figure in FIGURES]


def one_rank():
    """Shard by rows, then replicate."""
    mesh = init_device_mesh("cpu", (2,))
    return [
        whole_run(lambda tensor, placement=placement: distribute_tensor(tensor, mesh, [placement]))
        for placement in (Shard(0), Replicate())
    ]


@needs_gloo
def test_two_ranks_report_what_one_does():
    expected = whole_run(lambda tensor: tensor)
    # All elements are looked at, so only the order of float64 sums differs.
    for rank, (sharded, replicated) in enumerate(on_ranks(2, one_rank)):
        assert sharded == pytest.approx(expected, rel=1e-12), rank
        assert replicated == pytest.approx(expected, rel=1e-12), rank
