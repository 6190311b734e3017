"""What the processes of these tests do: small models of uneven shards, stepped with known gradients."""

import functools

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from mezzotint.optim import RECIPES, SGD, AdamW, Lion

# On two ranks: 17 + 16 rows of a matrix that is small on each rank only, all rows of one matrix on the first
# rank, vectors, a kernel of four dimensions, a row that ends in half a byte and in a part of a block.
SHAPES = {
    "matrix": (33, 131),
    "row": (1, 5000),
    "vector": (130,),
    "number": (1,),
    "kernel": (5, 3, 4, 70),
    "small": (3, 7),
}
CASES = {
    **{name: (AdamW, name, {}) for name in RECIPES},
    "lion 8bit": (Lion, "8bit", {}),
    "sgd 4bit-min": (SGD, "4bit-min", {"momentum": 0.9}),
}


class Weights(nn.Module):
    """Parameters and nothing else."""

    def __init__(self, dtype):
        super().__init__()
        source = torch.Generator().manual_seed(1)
        for name, shape in SHAPES.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape, generator=source).to(dtype)))


def model_of(case):
    """Make the model that a case trains."""
    return Weights(torch.float32 if case == "fp32" else torch.bfloat16)


def optimizer_of(case, model, seed=5):
    """Make the optimizer of a case."""
    kind, recipe, options = CASES[case]
    return kind(model.parameters(), lr=1e-2, weight_decay=0.1, recipe=recipe, seed=seed, **options)


def step(model, optimizer, number):
    """Step with the gradients of that number, the same whole gradients wherever this runs."""
    source = torch.Generator().manual_seed(number)
    for p in model.parameters():
        whole = torch.randn(p.shape, generator=source).to(p.dtype)
        p.grad = distribute_tensor(whole, p.device_mesh, p.placements) if isinstance(p, DTensor) else whole
    optimizer.step()


def everything(model, optimizer):
    """Give the local rows of weights and states by name, each with the shape of the whole."""
    return {
        name: {
            key: (local(tensor), tuple(tensor.shape))
            for key, tensor in {"weight": p, **optimizer.state[p]}.items()
        }
        for name, p in model.named_parameters()
    }


def local(tensor):
    """Copy what lies here."""
    tensor = tensor.detach()
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).clone()


def joined(answers):
    """Put the rows of all ranks together, and see that they make the whole."""
    whole = {}
    for name, tensors in answers[0].items():
        whole[name] = {"step": tensors["step"][0]}
        for key, (_, shape) in tensors.items():
            if key != "step":
                whole[name][key] = torch.cat([answer[name][key][0] for answer in answers])
                assert whole[name][key].shape == shape
    return whole


def sharded(case):
    """Make the model of a case and spread its rows over all processes."""
    return fully_shard(model_of(case), mesh=init_device_mesh("cpu", (dist.get_world_size(),)))


def train(model, optimizer, steps):
    """Take some steps, given by their numbers."""
    for number in steps:
        step(model, optimizer, number)
    return everything(model, optimizer)


@functools.cache
def train_here(case, n_steps=3):
    """Train a case on this process alone."""
    model = model_of(case)
    return joined([train(model, optimizer_of(case, model), range(n_steps))])


def train_sharded(n_steps=3):
    """Train all cases, the rows of each parameter spread over the ranks."""
    answers = {}
    for case in CASES:
        model = sharded(case)
        answers[case] = train(model, optimizer_of(case, model), range(n_steps))
    return answers


def new_pairs(seed):
    """Make model and optimizer of all cases, sharded where there are several ranks."""
    pairs = {}
    for case in CASES:
        model = sharded(case) if dist.is_initialized() else model_of(case)
        pairs[case] = (model, optimizer_of(case, model, seed))
    return pairs


def states_of(pairs):
    """Give what a checkpoint of all cases holds."""
    return {
        case: dict(zip(("model", "optimizer"), get_state_dict(*pair), strict=True))
        for case, pair in pairs.items()
    }


def save_all(folder, steps):
    """Train and save all cases."""
    pairs = new_pairs(seed=5)
    for pair in pairs.values():
        train(*pair, steps)
    dcp.save(states_of(pairs), checkpoint_id=folder)


def load_all(folder, steps, saved_to=None):
    """Load all cases into optimizers of another seed, train on; give what was loaded and what it became."""
    pairs = new_pairs(seed=6)
    states = states_of(pairs)
    dcp.load(states, checkpoint_id=folder)
    loaded, trained = {}, {}
    for case, (model, optimizer) in pairs.items():
        saved = states[case]
        set_state_dict(model, optimizer, model_state_dict=saved["model"], optim_state_dict=saved["optimizer"])
        loaded[case] = everything(model, optimizer)
        trained[case] = train(model, optimizer, steps)
    if saved_to is not None:
        dcp.save(states_of(pairs), checkpoint_id=saved_to)
    return loaded, trained


def gather(folder):
    """Step the recipes with 16-bit remainders and gather their checkpoints whole on the first rank."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    for case in ("exact32", "exact16", "8bit"):
        model = sharded(case)
        optimizer = optimizer_of(case, model)
        train(model, optimizer, [0, 1])
        weights, states = get_state_dict(model, optimizer, options=options)
        if dist.get_rank() == 0:
            torch.save({"model": weights, "optimizer": states}, f"{folder}/{case}.pt")


def average():
    """Train under DDP on the batch of this rank; give the averaged gradients too."""
    model = DistributedDataParallel(layer())
    optimizer = AdamW(model.parameters(), lr=1e-2, recipe="4bit")
    averages = []
    for number in range(3):
        source = torch.Generator().manual_seed(10 * number + dist.get_rank())
        model(torch.randn(4, 130, generator=source).bfloat16()).float().square().mean().backward()
        averages.append([p.grad.clone() for p in model.parameters()])
        optimizer.step()
        optimizer.zero_grad()
    return averages, everything(model.module, optimizer)


def step_with(gradients):
    """Train alone with given gradients."""
    model = layer()
    optimizer = AdamW(model.parameters(), lr=1e-2, recipe="4bit")
    for given in gradients:
        for p, gradient in zip(model.parameters(), given, strict=True):
            p.grad = gradient
        optimizer.step()
    return everything(model, optimizer)


def layer():
    """Make a layer, always the same."""
    model = nn.Linear(130, 40, dtype=torch.bfloat16)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.arange(p.numel()).view(p.shape) % 17 / 64 - 0.1)
    return model
