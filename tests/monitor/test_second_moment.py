"""Second moments and saturation: caught a shadow that skipped steps, one without coupled decay or its sign.

Also made and seen to fail: a shadow that began at zero in mid-run or outlived a loaded state, one that forgot
who had no gradient, samples of other elements than the stored ones, blocks of zeros counted, one end of codes
alone, a stall law at beta2 rounded to bfloat16.
"""

import math

import pytest
import torch

from mezzotint.monitor import PrecisionMonitor, stalled_share
from mezzotint.optim import SGD, Adam, AdamW, Lion

BF16 = 2.0**-8  # half of the last place of a bfloat16 in [1, 2), relative


def parameter(*shape, dtype=torch.bfloat16):
    return torch.nn.Parameter((torch.randn(shape, generator=torch.Generator().manual_seed(1))).to(dtype))


def trained(optimizer, w, steps, size=lambda step: 1.0, **options):
    """Step on normal gradients, and give the monitor."""
    generator = torch.Generator().manual_seed(0)
    with PrecisionMonitor(optimizer, **options) as monitor:
        for step in range(steps):
            w.grad = (size(step) * torch.randn(w.shape, generator=generator)).to(w.dtype)
            optimizer.step()
    return monitor


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_the_shadow_of_float32_states_is_the_state(make, decay):
    # Every step rounds v twice to float32, and old roundings decay.
    w = parameter(16, 16, dtype=torch.float32)
    monitor = trained(make([w], lr=1e-2, weight_decay=decay), w, 20, every=10)
    for row in monitor.history:
        assert row.v_ratio == pytest.approx(1, abs=20 * 2.0**-23)
        assert row.v_error < 20 * 2.0**-23


@pytest.mark.parametrize("maximize", [False, True])
def test_coupled_decay_of_ours_is_in_the_shadow(maximize):
    w = parameter(16, 16, dtype=torch.float32)
    optimizer = Adam([w], lr=1e-2, weight_decay=0.5, recipe="fp32", maximize=maximize)
    assert trained(optimizer, w, 20, every=20).history[-1].v_error < 20 * 2.0**-23


def test_a_monitor_that_comes_in_mid_run_begins_from_what_is_stored():
    w = parameter(16, 16, dtype=torch.float32)
    optimizer = AdamW([w], recipe="fp32")
    trained(optimizer, w, 20, every=100)
    assert trained(optimizer, w, 1, every=1).history[-1].v_error < 2.0**-20


def test_a_loaded_state_is_a_new_beginning():
    w = parameter(16, 16, dtype=torch.float32)
    optimizer = AdamW([w], recipe="fp32")
    empty = optimizer.state_dict()
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for load in (False, True):
            if load:
                optimizer.load_state_dict(empty)
            w.grad = torch.full_like(w, 1.0 + load)
            optimizer.step()
    assert monitor.history[-1].v_error < 2.0**-20


def test_parameters_that_have_no_gradient_for_a_step_keep_their_shadow():
    a, b = parameter(8, 8, dtype=torch.float32), parameter(8, 8, dtype=torch.float32)
    optimizer = torch.optim.AdamW([a, b])
    with PrecisionMonitor(optimizer, every=5) as monitor:
        for step in range(10):
            a.grad = torch.full_like(a, step + 1.0)
            b.grad = torch.full_like(b, step + 1.0) if step % 3 == 0 else None
            optimizer.step()
    assert all(row.v_error < 2.0**-18 for row in monitor.history)
    assert {row.name for row in monitor.history[-4:]} == {"0.0", "0.1", "0", "total"}


def test_the_sample_of_some_rows_is_that_of_the_stored_rows():
    w = parameter(200, 64)
    for recipe in ("8bit", "exact16"):
        row = trained(AdamW([w], recipe=recipe), w, 10, every=10, elements=50 * 64, sample=500).history[-1]
        # 8-bit levels are 3/32 of an octave apart, 6.7 %: of 500 sums of chi-squares the noise is below 2 %.
        assert row.v_ratio == pytest.approx(1, abs=0.02)
        assert row.v_error < 0.1


def test_the_stall_law_holds_on_all_significands():
    expected = {0.9: 0, 0.95: 0, 0.99: 0, 0.996: 0, 0.997: 0.297, 0.998: 0.953, 0.999: 1, 0.9999: 1}
    for beta2, share in expected.items():
        assert stalled_share(beta2) == pytest.approx(share, abs=5e-4)


def test_a_bf16_moment_at_0999_stays_where_it_was_after_gradients_drop():
    # Stuck from step 100 on, for a square of a gradient of 0.01 is too small to be seen in an average of 0.1;
    # the true one decays by 0.999**100.
    ratios = {}
    for recipe in ("bf16", "exact16", "24bit"):
        w = parameter(32, 32)
        optimizer = AdamW([w], lr=1e-4, betas=(0.9, 0.999), recipe=recipe)
        monitor = trained(optimizer, w, 200, size=lambda step: 1.0 if step < 100 else 0.01, every=100)
        before, after = (row.v_ratio for row in monitor.history if row.kind == "total")
        ratios[recipe] = after / before
    assert ratios["bf16"] == pytest.approx(1 / 0.999**100, rel=0.01)
    assert ratios["exact16"] == pytest.approx(1, abs=0.002)
    assert ratios["24bit"] == pytest.approx(1, abs=0.01)


def test_smallest_codes_are_counted_but_not_in_blocks_of_zeros():
    # The largest square of the first row sets its scale; the others are 2**-26 of it, below 11 octaves. The
    # second row has had no gradient. 128 of 256 elements count, 127 of them at the smallest level.
    w = torch.nn.Parameter(torch.ones(2, 128, dtype=torch.bfloat16))
    optimizer = AdamW([w], recipe="4bit", spare=lambda p: False)
    gradient = torch.zeros(2, 128, dtype=torch.bfloat16)
    gradient[0] = 2.0**-13
    gradient[0, 5] = 1.0
    with PrecisionMonitor(optimizer, every=1) as monitor:
        w.grad = gradient
        optimizer.step()
    row = monitor.history[0]
    assert row.second_saturated == pytest.approx(127 / 128)


def test_clipped_ratios_are_counted():
    # beta2 = 0.5 forgets the large gradient, whose average of 0.9 remembers: m / sqrt(v) grows beyond 1.5.
    w = torch.nn.Parameter(torch.ones(1, 128, dtype=torch.bfloat16))
    optimizer = AdamW([w], lr=0.0, betas=(0.9, 0.5), recipe="8bit", spare=lambda p: False)
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for size in (1.0, *[0.0] * 12):
            w.grad = torch.full_like(w, size)
            optimizer.step()
    first, last = (row.first_saturated for row in (monitor.history[0], monitor.history[-1]))
    assert (first, last) == (0.0, 1.0)


@pytest.mark.parametrize("make", [SGD, Lion])
def test_rules_without_a_second_moment_have_no_figures_of_it(make):
    w = parameter(8, 8)
    row = trained(make([w], recipe="8bit", spare=lambda p: False), w, 2, every=1).history[-1]
    assert math.isnan(row.v_ratio)
    assert math.isnan(row.second_saturated)


def test_a_sample_of_none_leaves_second_moments_out():
    w = parameter(8, 8)
    assert math.isnan(trained(AdamW([w]), w, 1, every=1, sample=0).history[-1].v_ratio)
