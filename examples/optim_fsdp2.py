"""FSDP2: each rank keeps some rows of weights and states; a checkpoint goes on on any number of ranks.

torchrun --nproc-per-node 2 examples/optim_fsdp2.py, then the same with 3, or plain python for one.
"""

import os
import pathlib
import sys

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mezzotint.optim import AdamW

device = "cuda" if torch.cuda.is_available() else "cpu"
single = {} if "RANK" in os.environ else {"store": dist.HashStore(), "rank": 0, "world_size": 1}
dist.init_process_group("nccl" if device == "cuda" else "gloo", **single)
if device == "cuda":
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "fsdp2-checkpoint")

torch.manual_seed(0)
x = torch.randn(256, 64, device=device)
y = torch.tanh(x @ torch.randn(64, 8, device=device))
model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.Tanh(), torch.nn.Linear(100, 8))
model = model.to(device, torch.bfloat16)
fully_shard(model, mesh=init_device_mesh(device, (dist.get_world_size(),)))
optimizer = AdamW(model.parameters(), lr=3e-3, recipe="8bit")


def kept():
    """Give what a checkpoint holds."""
    weights, states = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": states}


checkpoints = sorted(folder.glob("step-*"))
if checkpoints:
    state = kept()
    dcp.load(state, checkpoint_id=checkpoints[-1])
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
for _ in range(20):
    loss = torch.nn.functional.mse_loss(model(x.bfloat16()).float(), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
steps = int(optimizer.state[model[0].weight]["step"])
dcp.save(kept(), checkpoint_id=folder / f"step-{steps:06}")

if dist.get_rank() == 0:
    print(f"ranks:              {dist.get_world_size()}")
    print(f"steps taken:        {steps}")
    print(f"loss of the last:   {loss.item():.5f}")
dist.barrier()
dist.destroy_process_group()
