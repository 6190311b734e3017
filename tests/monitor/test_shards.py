"""Sharded parameters: caught sums of one rank reported as those of all, replicas counted twice."""

import json
import socket

import pytest
import torch
from torch import distributed
from torch.multiprocessing import spawn

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


def one_rank(rank, port, folder):
    """Shard by rows, then replicate."""
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    for name, placement in (("sharded", Shard(0)), ("replicated", Replicate())):
        found = whole_run(lambda tensor, placement=placement: distribute_tensor(tensor, mesh, [placement]))
        (folder / f"{name}_{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed")
def test_two_ranks_report_what_one_does(tmp_path):
    expected = whole_run(lambda tensor: tensor)
    spawn(one_rank, (free_port(), tmp_path), nprocs=2)
    # All elements are looked at, so only the order of float64 sums differs.
    for name in ("sharded_0", "sharded_1", "replicated_0", "replicated_1"):
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found == pytest.approx(expected, rel=1e-12), name
