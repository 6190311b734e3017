"""Small parameters and known gradients for the tests of optimizers."""

import torch

from mezzotint.optim import RECIPES, AdamW

SHAPES = ((40, 131), (7,), (3, 5))


def dtype_of(recipe):
    """Give the dtype of parameters that a recipe stores in fewest bytes."""
    return torch.float32 if recipe == "fp32" else torch.bfloat16


def parameters(dtype, shapes=SHAPES):
    """Make parameters, always the same."""
    source = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=source).to(dtype)) for shape in shapes]


def give_gradients(params, number):
    """Set the gradients of a step."""
    source = torch.Generator().manual_seed(100 + number)
    for p in params:
        p.grad = torch.randn(p.shape, generator=source).to(p.dtype)


def train(optimizer, steps, parameters=None):
    """Take steps, given by their numbers."""
    params = parameters or [p for group in optimizer.param_groups for p in group["params"]]
    for number in steps:
        give_gradients(params, number)
        optimizer.step()


def started(recipe, kind=AdamW, **options):
    """Make an optimizer of its own parameters."""
    return kind(parameters(dtype_of(recipe)), **{"lr": 1e-2, "recipe": recipe, **options})


def everything(optimizer):
    """Copy weights and states."""
    return [
        {"weight": p.detach().clone(), **{key: value.clone() for key, value in optimizer.state[p].items()}}
        for group in optimizer.param_groups
        for p in group["params"]
    ]


def assert_same(optimizer, other):
    """Compare all weights and states, bit for bit and dtype for dtype."""
    torch.testing.assert_close(everything(optimizer), everything(other), rtol=0, atol=0, equal_nan=True)


ALL = tuple(RECIPES)
