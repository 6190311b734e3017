"""Caught: a product of pairs in place, beta2 not split, decay beside the sum."""

import pytest
import torch

from mezzotint.errors import ParameterError
from mezzotint.optim import Adam, AdamW, Lion

BETAS = (0.95, 0.98, 0.99, 0.999)


def second_moment(recipe, beta2, drop, steps=1000, arithmetic="bf16"):
    """v over its exact value, in the mean, after `steps` or as many more with a tenth of the gradients."""
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(torch.ones(40, 40, dtype=torch.bfloat16))
    optimizer = AdamW([w], lr=0.0, betas=(0.9, beta2), recipe=recipe, arithmetic=arithmetic)
    exact = torch.zeros(40, 40, dtype=torch.float64)
    for step in range(2 * steps if drop else steps):
        w.grad = (
            torch.randn(40, 40, generator=generator, dtype=torch.float32) * (0.1 if step >= steps else 1.0)
        ).bfloat16()
        optimizer.step()
        exact = beta2 * exact + (1 - beta2) * w.grad.double() ** 2
    state = optimizer.state[w]
    v = state["exp_avg_sq"].double() + state.get("exp_avg_sq_lo", torch.zeros(())).double()
    return (v.sum() / exact.sum()).item()


@pytest.mark.parametrize("beta2", BETAS)
def test_collage_plus_keeps_the_second_moment_within_a_thousandth(beta2):
    assert second_moment("collage-plus", beta2, drop=False) == pytest.approx(1, abs=1e-3)


def test_collage_plus_follows_a_tenfold_drop_of_gradients():
    assert second_moment("collage-plus", 0.999, drop=True) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("arithmetic", ["bf16", "fp32"])
def test_a_plain_second_moment_stands_still_after_the_drop(arithmetic):
    """0.999 v rounds to v for every bfloat16: the old value stays, above twice the new one."""
    assert second_moment("collage-light", 0.999, drop=True, arithmetic=arithmetic) > 2


def displacement(recipe, peak, arithmetic, steps=1000):
    """Error of the total displacement of N(0, 0.02) weights, over the exact displacement."""
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter((0.02 * torch.randn(40, 40, generator=generator, dtype=torch.float32)).bfloat16())
    optimizer = AdamW([w], lr=peak, recipe=recipe, arithmetic=arithmetic, weight_decay=0.0)
    twin = torch.nn.Parameter(w.detach().double())
    exact = torch.optim.AdamW([twin], lr=peak, weight_decay=0.0)
    first = twin.detach().clone()
    for step in range(steps):
        g = torch.randn(40, 40, generator=generator, dtype=torch.float32) + 0.1
        for p, o in ((w, optimizer), (twin, exact)):
            o.param_groups[0]["lr"] = peak * (1 - step / steps)
            p.grad = g.to(torch.bfloat16).to(p.dtype)
            o.step()
    stored = w.detach().double() + optimizer.state[w].get("weight_lo", torch.zeros(())).double()
    return ((stored - twin).norm() / (first - twin).norm()).item()


@pytest.mark.parametrize("arithmetic", ["bf16", "fp32"])
def test_the_weight_keeps_its_updates_in_a_pair_and_loses_them_without(arithmetic):
    """The pair repairs the addition only: rounded arithmetic leaves errors in the update that is added."""
    plain, pair = (displacement(recipe, 1e-4, arithmetic) for recipe in ("bf16", "collage-light"))
    assert plain > 0.5
    assert pair < plain / 5


def run(steps=300, **options):
    generator = torch.Generator().manual_seed(3)
    w = torch.nn.Parameter(torch.randn(40, 40, generator=generator, dtype=torch.float32).bfloat16())
    optimizer = AdamW([w], recipe="collage-plus", arithmetic="bf16", **options)
    for _ in range(steps):
        w.grad = torch.randn(40, 40, generator=generator, dtype=torch.float32).bfloat16()
        optimizer.step()
    return w.detach()


def test_compact_decay_acts_and_the_other_places_lose_it():
    options = {"lr": 1e-4, "weight_decay": 0.1}
    undecayed = run(**{**options, "weight_decay": 0.0})
    assert not torch.equal(run(**options), undecayed)
    for style in ("torch", "HF"):
        assert torch.equal(run(**options, weight_decay_style=style), undecayed)


def test_the_split_of_beta2_does_not_depend_on_the_default_dtype():
    expected = run(20)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(run(20), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda w: AdamW([w], recipe="24bit", arithmetic="bf16"),
            "defined for bf16, collage-light, collage-plus",
        ),
        (lambda w: AdamW([w], arithmetic="fp16"), "'fp16'; allowed are 'fp32' and 'bf16'"),
        (lambda w: Lion([{"params": [w], "arithmetic": "bf16"}], recipe="bf16"), "not Adam's"),
        (lambda w: Adam([w], weight_decay_style="HF"), "use 'compact'"),
        (lambda w: Adam([w], weight_decay_style="inside"), "allowed are compact, torch, HF"),
    ],
)
def test_what_is_not_defined_is_refused(make, reason):
    with pytest.raises(ParameterError, match=reason):
        make(torch.nn.Parameter(torch.ones(2, 2, dtype=torch.bfloat16)))


def test_a_compiled_step_that_drops_roundings_is_refused(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(ParameterError, match="emulate_precision_casts = True"):
        run(1)
