"""Would catch: input of an unusual kind that is taken wrongly, or refused after something has changed.

Caught: weights with gaps in memory that were not copied back; element numbers cut to 32 bits; changed weights
that were not seen.
"""

import pytest
import torch
from tests.optim import training
from tests.optim.training import assert_same, everything, give_gradients, started, train

from mezzotint.errors import ParameterError
from mezzotint.optim import SGD, AdamW, Lion
from mezzotint.optim.bits import Place, dithered_words, stochastic_words
from mezzotint.random import random_bits

STORED = [recipe for recipe in training.ALL if recipe != "fp32"]


# --------------------------------------------------------------------------------------------- gradients


def test_a_sparse_gradient_is_refused_before_anything_changes():
    optimizer = started("24bit")
    train(optimizer, [0])
    before = everything(optimizer)
    give_gradients(optimizer.param_groups[0]["params"], 1)
    late = torch.nn.Embedding(5, 3, sparse=True)
    optimizer.add_param_group({"params": late.parameters()})
    late(torch.tensor([2])).sum().backward()
    with pytest.raises(ParameterError, match="a sparse gradient came"):
        optimizer.step()
    torch.testing.assert_close(everything(optimizer)[:3], before, rtol=0, atol=0)


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_is_seen_in_its_weight_and_only_there(recipe, value):
    optimizer = started(recipe)
    params = optimizer.param_groups[0]["params"]
    give_gradients(params, 0)
    params[0].grad[3, 4] = value
    optimizer.step()
    bad = ~torch.isfinite(params[0])
    assert bad[3, 4]
    assert all(torch.isfinite(p).all() for p in params[1:])
    rows = bad.any(dim=1).nonzero().flatten().tolist()
    assert rows == [3]


# ---------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
@pytest.mark.parametrize("shape", [(), (0,), (0, 7), (7, 0), (1,), (2, 3, 4, 5)], ids=str)
def test_parameters_of_any_shape_are_stepped(recipe, kind, shape):
    (p,) = training.parameters(training.dtype_of(recipe), [shape])
    before = p.detach().clone()
    optimizer = kind([p], lr=0.1, recipe=recipe, spare=lambda _: False)
    train(optimizer, [0])
    assert not p.numel() or not torch.equal(p, before)
    train(optimizer, [1, 2])
    assert p.shape == shape
    assert torch.isfinite(p).all()


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("changed", ["transposed", "channels last", "every other"])
def test_where_weights_lie_in_memory_changes_no_bit(recipe, changed):
    shape = (8, 6, 5, 20)
    (p,) = training.parameters(training.dtype_of(recipe), [shape])
    other = torch.nn.Parameter(laid_out(p.detach(), changed))
    assert not other.is_contiguous()
    optimizers = [AdamW([q], lr=1e-2, recipe=recipe) for q in (p, other)]
    for optimizer in optimizers:
        train(optimizer, range(3))
    assert_same(*optimizers)


def laid_out(tensor, how):
    if how == "channels last":
        return tensor.to(memory_format=torch.channels_last)
    if how == "transposed":
        return tensor.transpose(0, 3).contiguous().transpose(0, 3)
    wide = torch.zeros((*tensor.shape[:-1], 2 * tensor.shape[-1]), dtype=tensor.dtype)
    wide[..., ::2] = tensor
    return wide[..., ::2]


@pytest.mark.parametrize("recipe", STORED)
def test_a_recipe_refuses_dtypes_that_it_does_not_store(recipe):
    half = torch.nn.Parameter(torch.zeros(3, dtype=torch.float16))
    if recipe.startswith("mixed"):
        AdamW([half], recipe=recipe)
        return
    with pytest.raises(ParameterError, match=r"came with a parameter of torch\.float16"):
        AdamW([half], recipe=recipe)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_dtypes_that_no_recipe_stores_are_refused_and_the_group_is_not_kept(dtype):
    optimizer = started("24bit")
    with pytest.raises(ParameterError, match=f"came with a parameter of {dtype}"):
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(3, dtype=dtype))]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("recipe", training.ALL)
def test_a_weight_changed_from_outside_is_the_weight_from_then_on(recipe):
    changed = started(recipe)
    train(changed, range(2))
    p = changed.param_groups[0]["params"][0]
    with torch.no_grad():
        p.copy_(torch.full_like(p, 64.0))
    changed.param_groups[0]["lr"] = 0.0
    train(changed, [2])
    # What is kept beside the weight is below half of its last place; 64 has 8 bits, of which half is 0.25.
    assert (p.float() - 64.0).abs().max() <= 0.25


# ------------------------------------------------------------------------------------------ huge tensors


@pytest.mark.parametrize("first", [0, 2**31 - 2, 2**33 + 3, 2**40 + 1])
def test_words_beyond_two_to_the_31_are_those_of_their_element(first):
    place = Place(seed=3, step=2, stream=17, first=first)
    assert stochastic_words(place, 9).tolist() == random_bits(3, first, 9, step=2, stream=17).tolist()
    alone = [dithered_words(Place(3, 2, 17, first=first + i), 1).item() for i in range(9)]
    assert dithered_words(place, 9).tolist() == alone
    assert (
        dithered_words(place, 9).tolist() != dithered_words(Place(3, 2, 17, first=first + 2**32), 9).tolist()
    )
