"""Would catch: a promise of torch.optim that schedulers, scalers, clippers or loops rely on, broken.

Caught: states loaded without a copy, or cast to the dtype of their parameter, or not checked; copies of
optimizers that lost the numbers of their parameters; steps taken although the scaler had found infinity;
counts of steps and numbers in torch's default dtype.
"""

import copy

import pytest
import torch
from tests.optim import training
from tests.optim.training import assert_same, everything, give_gradients, started, train
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

from mezzotint.errors import ParameterError
from mezzotint.optim import SGD, AdamW, Lion

# ------------------------------------------------------------------------------------------------ rates


@pytest.mark.parametrize("tensor", [False, True])
def test_a_rate_that_a_scheduler_set_acts_in_the_next_step(tensor):
    scheduled = started("24bit", lr=torch.tensor(1e-2) if tensor else 1e-2)
    scheduler = LambdaLR(scheduled, lambda epoch: 0.5**epoch)
    by_hand = started("24bit")
    for number in range(3):
        by_hand.param_groups[0]["lr"] = 1e-2 * 0.5**number
        train(scheduled, [number])
        train(by_hand, [number])
        scheduler.step()
    # A tensor of float32 holds another rate than the float does, in the last place.
    distance = max(
        (a - b).abs().max().item() for a, b in zip(weights(scheduled), weights(by_hand), strict=True)
    )
    assert distance <= (2.0**-7 if tensor else 0.0)


def weights(optimizer):
    return [p.detach().float() for group in optimizer.param_groups for p in group["params"]]


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (AdamW, {"recipe": "4bit-min"}),
        (AdamW, {"recipe": "collage-plus", "arithmetic": "bf16"}),
        (SGD, {"recipe": "24bit", "momentum": 0.9, "dampening": 0.3}),
    ],
)
def test_the_default_dtype_of_torch_plays_no_part(kind, options, capturable):
    """Counts in bfloat16 would end at 256."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        params = training.parameters(torch.bfloat16)
        torch.set_default_dtype(dtype)
        try:
            optimizer = kind(params, lr=1e-2, capturable=capturable, **options)
            for number in range(260):
                torch.set_default_dtype(torch.float32)
                give_gradients(params, number)
                torch.set_default_dtype(dtype)
                optimizer.step()
        finally:
            torch.set_default_dtype(torch.float32)
        found.append(optimizer)
    assert_same(*found)


def test_one_cycle_drives_the_first_beta():
    optimizer = started("collage-plus")
    scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=4)
    seen = []
    for number in range(3):
        train(optimizer, [number])
        scheduler.step()
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
    assert len(set(seen)) == 3


def test_a_plateau_lowers_the_rate():
    optimizer = started("8bit")
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for number in range(3):
        train(optimizer, [number])
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(2.5e-3)


# -------------------------------------------------------------------------------------- what a step takes


def test_a_closure_is_called_with_gradients_on_and_its_loss_is_returned():
    (p,) = training.parameters(torch.bfloat16, [(3,)])
    optimizer = AdamW([p], lr=1e-2)

    def closure():
        optimizer.zero_grad()
        loss = (p.float() ** 2).sum()
        loss.backward()
        return loss

    before = p.detach().clone()
    loss = optimizer.step(closure)
    assert loss.item() == pytest.approx((before.float() ** 2).sum().item())
    assert not torch.equal(p, before)


def test_a_step_without_a_closure_returns_nothing():
    optimizer = started("24bit")
    give_gradients(optimizer.param_groups[0]["params"], 0)
    assert optimizer.step() is None


def test_hooks_run_around_a_step():
    optimizer, seen = started("24bit"), []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    train(optimizer, [0])
    assert seen == ["before", "after"]


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
def test_climbing_is_descending_along_the_opposite_gradient(recipe, kind):
    up, down = started(recipe, kind, maximize=True), started(recipe, kind)
    for number in range(2):
        train(up, [number])
        params = down.param_groups[0]["params"]
        give_gradients(params, number)
        for p in params:
            p.grad.neg_()
        down.step()
    assert_same(up, down)


def test_frozen_parameters_and_those_without_a_gradient_stay_and_have_no_state():
    optimizer = started("8bit")
    first, second, third = optimizer.param_groups[0]["params"]
    second.requires_grad_(False)
    before = [p.detach().clone() for p in (second, third)]
    train(optimizer, [0], [first])
    assert torch.equal(second, before[0])
    assert torch.equal(third, before[1])
    assert not optimizer.state[second]


@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_are_cleared_as_asked(to_none):
    optimizer = started("24bit")
    train(optimizer, [0])
    optimizer.zero_grad(set_to_none=to_none)
    for p in optimizer.param_groups[0]["params"]:
        assert (p.grad is None) if to_none else not p.grad.any()


def test_a_group_added_in_the_middle_of_a_run_starts_its_own_count():
    optimizer = started("24bit")
    train(optimizer, [0, 1])
    (late,) = training.parameters(torch.float32, [(64, 65)])
    optimizer.add_param_group({"params": [late], "lr": 1e-3, "recipe": "8bit"})
    train(optimizer, [2])
    first = optimizer.param_groups[0]["params"][0]
    assert (optimizer.state[first]["step"].item(), optimizer.state[late]["step"].item()) == (3, 1)
    assert optimizer.state[late]["exp_avg"].dtype is torch.uint8


def test_clipping_takes_groups_of_two_dtypes():
    wide, narrow = training.parameters(torch.float32, [(9, 9)]), training.parameters(torch.bfloat16, [(9, 9)])
    optimizer = AdamW([{"params": wide, "recipe": "fp32"}, {"params": narrow}])
    give_gradients([*wide, *narrow], 0)
    for p in (*wide, *narrow):
        p.grad.mul_(100)
    torch.nn.utils.clip_grad_norm_([*wide, *narrow], 1.0)
    assert torch.stack([p.grad.float().norm() for p in (*wide, *narrow)]).norm().item() <= 1.01
    optimizer.step()


@pytest.mark.parametrize(("recipe", "dtype"), [("mixed", torch.float16), ("8bit", torch.float32)])
def test_a_scaler_skips_steps_of_infinite_gradients_and_unscales_the_others(recipe, dtype):
    plain, scaled = (AdamW(training.parameters(dtype), lr=1e-2, recipe=recipe) for _ in range(2))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = weights(scaled)
    for spoiled in (True, False):
        params = scaled.param_groups[0]["params"]
        give_gradients(params, 0)
        for p in params:
            p.grad.clamp_(-9, 9).mul_(2.0**10)
        if spoiled:
            params[0].grad[3, 4] = torch.inf
        scaler.scale(torch.zeros(()))
        scaler._scale.fill_(2.0**10)
        scaler.step(scaled)
        scaler.update()
        if spoiled:
            assert not any(scaled.state.values())
            torch.testing.assert_close(weights(scaled), before, rtol=0, atol=0)
    train(plain, [0])
    assert_same(plain, scaled)


# ------------------------------------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
def test_a_run_that_was_stopped_goes_on_bit_for_bit(recipe, kind, tmp_path):
    whole, stopped = started(recipe, kind), started(recipe, kind)
    train(whole, range(4))
    train(stopped, range(2))
    torch.save(stopped.state_dict(), tmp_path / "optimizer.pt")
    resumed = started(recipe, kind, lr=0.5, seed=9)
    for p, q in zip(resumed.param_groups[0]["params"], stopped.param_groups[0]["params"], strict=True):
        p.data.copy_(q.data)
    resumed.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    assert_same(resumed, stopped)
    train(resumed, range(2, 4))
    assert_same(resumed, whole)


@pytest.mark.parametrize("recipe", training.ALL)
@pytest.mark.parametrize("kind", [AdamW, Lion, SGD])
@pytest.mark.parametrize("began", [False, True])
def test_the_step_by_which_checkpoints_make_states_changes_no_weight(recipe, kind, began):
    optimizer = started(recipe, kind, weight_decay=0.1)
    params = optimizer.param_groups[0]["params"]
    if began:
        train(optimizer, [0])
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {}})
    before = weights(optimizer)
    for p in params:
        p.grad = torch.zeros_like(p)
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    torch.testing.assert_close(weights(optimizer), before, rtol=0, atol=0)


@pytest.mark.parametrize("recipe", training.ALL)
def test_counting_steps_on_the_device_changes_no_bit(recipe):
    plain, capturable = started(recipe), started(recipe, capturable=True, lr=torch.tensor(1e-2))
    plain.param_groups[0]["lr"] = torch.tensor(1e-2)
    for optimizer in (plain, capturable):
        train(optimizer, range(3))
    assert_same(capturable, plain)


@pytest.mark.parametrize("recipe", training.ALL)
def test_a_copy_goes_on_as_the_original_does(recipe):
    original = started(recipe)
    train(original, range(2))
    copied = copy.deepcopy(original)
    train(original, range(2, 4))
    train(copied, range(2, 4))
    assert_same(copied, original)


@pytest.mark.parametrize("recipe", training.ALL)
def test_what_was_loaded_shares_no_memory_with_what_was_given(recipe):
    optimizer, other = started(recipe), started(recipe)
    train(optimizer, [0])
    before = everything(optimizer)
    other.load_state_dict(optimizer.state_dict())
    train(other, [1])
    torch.testing.assert_close(everything(optimizer), before, rtol=0, atol=0)


def test_hooks_of_loading_see_what_they_expect():
    optimizer, other, dtypes = started("8bit"), started("8bit"), []
    train(optimizer, [0])
    first = other.param_groups[0]["params"][0]
    other.register_load_state_dict_pre_hook(
        lambda _, given: {**given, "state": dict(list(given["state"].items())[:1])}
    )
    other.register_load_state_dict_post_hook(lambda o: dtypes.append(o.state[first]["exp_avg"].dtype))
    other.load_state_dict(optimizer.state_dict())
    assert dtypes == [torch.uint8]
    assert len([state for state in other.state.values() if state]) == 1


def change(state, key, value):
    state["state"][0][key] = value
    return state


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda s: change(s, "exp_avg", s["state"][0]["exp_avg"].float()),
            "float32 of shape .* stores torch.uint8",
        ),
        (lambda s: change(s, "exp_avg", s["state"][0]["exp_avg"][:3]), r"shape \(3, 131\)"),
        (lambda s: s["state"][0].pop("weight_lo") is None or s, "without weight_lo"),
        (lambda s: s["param_groups"][0].update(recipe="24bit") or s, "recipe '24bit'"),
        (lambda s: s["param_groups"][0].pop("recipe") is None or s, "of another optimizer"),
    ],
)
def test_states_stored_otherwise_are_refused_before_anything_changes(spoil, words):
    optimizer, other = started("8bit"), started("8bit")
    train(optimizer, [0])
    train(other, [1])
    before = everything(other)
    given = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ParameterError, match=words):
        other.load_state_dict(spoil(given))
    torch.testing.assert_close(everything(other), before, rtol=0, atol=0)
