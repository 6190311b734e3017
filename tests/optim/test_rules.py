"""Caught: decay outside the update, a correction of the wrong step, early dampening, eps in the root,
a lengthening that no denominator has.
"""

import numpy as np
import pytest
import torch

from mezzotint.optim import SGD, Adam, AdamW, Lion

ROUNDOFF = 2.0**-24
OURS_AND_THEIRS = {
    "AdamW": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "AdamW at beta2 = 0.95": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "betas": (0.8, 0.95), "eps": 1e-4}),
    "Adam": (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.1}),
    "Adam, decoupled": (
        Adam,
        torch.optim.Adam,
        {"lr": 1e-2, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "AdamW, maximising": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "maximize": True}),
    "SGD": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "SGD with momentum": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    "SGD with dampening": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    "SGD, Nesterov's": (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
}


def gradients(n, scale=1.0):
    generator = torch.Generator().manual_seed(1)
    return [scale * torch.randn(32, 40, generator=generator) for _ in range(n)]


def run(make, weight, steps):
    w = torch.nn.Parameter(weight.clone())
    optimizer = make([w])
    for g in steps:
        w.grad = g.to(w.dtype)
        optimizer.step()
    return w.detach(), optimizer.state[w]


def makers(name):
    ours, theirs, options = OURS_AND_THEIRS[name]
    return (lambda p: ours(p, recipe="fp32", **options)), (lambda p: theirs(p, foreach=False, **options))


def start():
    return torch.randn(32, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", OURS_AND_THEIRS)
@pytest.mark.parametrize("n", [1, 2])
def test_one_step_from_equal_states_is_torchs_to_the_derived_bound(name, n):
    """Both follow one formula in another order.

    Per step at most 6 roundings touch a term of the moments, 8 the update, whose size is
    A = rate (|keep m| + |add g|) / denominator + lr l2 |w|, and 4 the weight itself; the bound is their sum.
    """
    ours, theirs = makers(name)
    steps = gradients(n)
    w0 = start()
    (w1, _), (w2, _) = run(ours, w0, steps), run(theirs, w0, steps)
    # The largest step of all rules here: 0.1 (|g1| + |g2| + decay |w|) for SGD; Adam's is at most lr / (1 -
    # beta1) per step.
    size = 0.2 * sum(g.abs() for g in steps) + 0.1 + 0.1 * w0.abs()
    bound = ROUNDOFF * n * (4 * (w0.abs() + size) + 14 * size)
    assert ((w1 - w2).abs() <= bound).all()


@pytest.mark.parametrize("name", OURS_AND_THEIRS)
def test_over_1000_steps_the_drift_from_float64_is_at_most_twice_torchs(name):
    ours, theirs = makers(name)
    steps = gradients(1000, 0.1)
    exact, _ = run(theirs, start().double(), steps)
    drift = [(run(make, start(), steps)[0].double() - exact).norm() for make in (ours, theirs)]
    assert drift[0] <= 2 * drift[1]


def test_lion_follows_its_published_rule():
    """Program 1 of Chen et al. in float64: the sign of an interpolation, decay with it, then the average."""
    lr, beta1, beta2, decay = 1e-2, 0.9, 0.99, 0.1
    w, m = start().double(), torch.zeros(32, 40, dtype=torch.float64)
    steps = gradients(50)
    for g in steps:
        w = w - lr * (torch.sign(beta1 * m + (1 - beta1) * g.double()) + decay * w)
        m = beta2 * m + (1 - beta2) * g.double()
    ours, state = run(lambda p: Lion(p, lr=lr, weight_decay=decay, recipe="fp32"), start(), steps)
    assert (ours - w).abs().max() < 50 * 3 * ROUNDOFF * 5
    assert (state["exp_avg"] - m).abs().max() < 50 * 3 * ROUNDOFF


def test_weight_decay_acts_in_bfloat16_however_small_it_is():
    """lr wd = 1e-5 is far below half of the last place, 2**-9: alone it would be rounded away."""
    weights = {}
    for decay in (0.0, 0.1):
        options = {"lr": 1e-4, "weight_decay": decay}
        w, _ = run(
            lambda p, o=options: AdamW(p, recipe="collage-light", **o), start().bfloat16(), gradients(1000)
        )
        exact, _ = run(
            lambda p, o=options: torch.optim.AdamW(p, **o), start().bfloat16().double(), gradients(1000)
        )
        weights[decay] = (w.double().norm(), exact.norm())
    shrunk, exactly = (float(weights[0.0][kind] - weights[0.1][kind]) for kind in (0, 1))
    assert exactly > 0.2
    assert shrunk == pytest.approx(exactly, rel=0.01)


@pytest.mark.parametrize(("recipe", "factor"), [("24bit", 1.0), ("8bit", 1.0), ("4bit", 1.1)])
def test_the_denominator_is_lengthened_where_second_moments_are_coarse(recipe, factor):
    weight = torch.nn.Parameter(torch.ones(64, 128, dtype=torch.bfloat16))
    hyper = AdamW([weight], recipe=recipe, betas=(0.9, 0.999)).task(weight).hyper
    assert hyper.root == np.float32(factor / np.sqrt(1 - 0.999))
