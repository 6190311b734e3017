"""Would catch: a DTensor whose rows are cut and that is taken, or a state without its place in the whole."""

import pytest
import torch
import torch.distributed as dist
from tests.optim.training import give_gradients, parameters
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor

from mezzotint.errors import ParameterError
from mezzotint.optim import AdamW, release_gradients


@pytest.fixture(scope="module")
def mesh():
    if not dist.is_gloo_available():
        pytest.skip("this build of torch has no gloo, so there are no process groups on the CPU")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def test_a_parameter_sharded_by_columns_is_refused(mesh):
    cut = torch.nn.Parameter(distribute_tensor(torch.zeros(4, 6), mesh, [Shard(1)]))
    with pytest.raises(ParameterError, match=r"placement Shard\(dim=1\).*shard along dimension 0"):
        AdamW([cut])


@pytest.mark.parametrize("placement", [Shard(0), Replicate()], ids=str)
@pytest.mark.parametrize("shape", [(40, 131), (7,)], ids=str)
def test_states_have_the_placement_of_their_parameter_and_their_own_whole_shape(mesh, placement, shape):
    (plain,) = parameters(torch.bfloat16, [shape])
    p = torch.nn.Parameter(distribute_tensor(plain.detach(), mesh, [placement]))
    optimizer = AdamW([p], recipe="4bit", spare=lambda _: False)
    p.grad = torch.ones_like(p)
    optimizer.step()
    for key, value in optimizer.state[p].items():
        if key != "step":
            assert isinstance(value, DTensor)
            assert value.placements == p.placements
    length = 131 if len(shape) == 2 else 1
    assert optimizer.state[p]["exp_avg"].shape == (shape[0], -(-length // 2))
    assert optimizer.state[p]["exp_avg_sq_scale"].shape == (shape[0], -(-length // 128))


def test_gradients_are_not_released_where_processes_share_the_work(mesh, monkeypatch):
    params = parameters(torch.bfloat16)
    give_gradients(params, 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(ParameterError, match="on 2 processes"):
        release_gradients(AdamW(params))
