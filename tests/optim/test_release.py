"""Would catch: steps in the backward pass that differ from ordinary ones, or that are misused unnoticed.

Caught: gradients kept after their step; a second gradient taken before the step had ended.
"""

import pytest
import torch
from tests.optim import training
from torch import nn

from mezzotint.errors import ParameterError
from mezzotint.optim import RECIPES, SGD, AdamW, Lion, release_gradients


def network(recipe):
    """Make a network of which one layer is used twice."""
    layers = [nn.Linear(65, 65, dtype=training.dtype_of(recipe)) for _ in range(2)]
    with torch.no_grad():
        source = torch.Generator().manual_seed(2)
        for p in (p for layer in layers for p in layer.parameters()):
            p.copy_(torch.randn(p.shape, generator=source) * 0.1)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], layers[0])


def backward(model, number):
    source = torch.Generator().manual_seed(number)
    x = torch.randn(4, 65, generator=source).to(next(model.parameters()).dtype)
    model(x).float().square().mean().backward()


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
def test_a_step_in_the_backward_pass_has_the_bits_of_an_ordinary_one(recipe, kind):
    models = [network(recipe) for _ in range(2)]
    ordinary, released = (kind(model.parameters(), lr=1e-2, recipe=recipe) for model in models)
    with release_gradients(released):
        for number in range(3):
            backward(models[0], number)
            ordinary.step()
            ordinary.zero_grad()
            backward(models[1], number)
            assert all(p.grad is None for p in models[1].parameters())
            released.step()
    training.assert_same(released, ordinary)


@pytest.fixture
def released():
    model = network("24bit")
    optimizer = AdamW(model.parameters(), lr=1e-2)
    with release_gradients(optimizer):
        yield model, optimizer


def test_gradients_are_gone_while_the_pass_goes_on(released):
    model, _ = released
    held = []
    model[0].weight.register_hook(lambda g: held.append(model[2].weight.grad))
    backward(model, 0)
    assert held == [None]


def test_schedulers_see_the_end_of_a_step(released):
    model, optimizer = released
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    backward(model, 0)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 5e-3


def test_accumulation_is_refused(released):
    model, _ = released
    backward(model, 0)
    with pytest.raises(ParameterError, match="second gradient came before step"):
        backward(model, 1)


def test_a_closure_is_refused(released):
    _, optimizer = released
    with pytest.raises(ParameterError, match="a closure came while gradients are released"):
        optimizer.step(lambda: pytest.fail("it was called"))


def test_a_loss_scaler_is_refused():
    model = network("24bit").half()
    optimizer = AdamW(model.parameters(), recipe="mixed")
    scaler = torch.amp.GradScaler("cpu")
    with release_gradients(optimizer):
        scaler.scale(model(torch.ones(1, 65, dtype=torch.float16)).float().mean()).backward()
        with pytest.raises((ParameterError, AssertionError), match=r"GradScaler came|No inf checks"):
            scaler.step(optimizer)


def test_gradients_that_no_backward_pass_brought_are_refused(released):
    _, optimizer = released
    late = nn.Linear(3, 3, dtype=torch.bfloat16)
    optimizer.add_param_group({"params": late.parameters()})
    late(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    with pytest.raises(ParameterError, match="2 parameters came with a gradient that was not released"):
        optimizer.step()


def test_a_second_release_is_refused_and_after_the_first_steps_are_ordinary(released):
    model, optimizer = released
    with pytest.raises(ParameterError, match="released already"):
        release_gradients(optimizer)
    optimizer._released.remove()
    backward(model, 0)
    assert model[0].weight.grad is not None
    assert not optimizer.state[model[0].weight]


def test_optimizers_of_others_are_refused():
    with pytest.raises(ParameterError, match="came as SGD; allowed are optimizers of mezzotint"):
        release_gradients(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]))
