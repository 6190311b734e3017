"""EDQ, lost updates and norms on tensors small enough for a pencil: caught zero updates that counted as lost.

Also made and seen to fail: sums not scaled to all elements, groups that did not add up, a full weight that
was the visible one, a weight kept by reference, an intended update off by 1e-3 or made in float32, `maximize`
ignored, an EDQ ratio of norms.
"""

import math

import pytest
import torch

from mezzotint.monitor import PrecisionMonitor
from mezzotint.optim import SGD, AdamW, Lion


def stepped(optimizer, weights, gradients, **options):
    """Take one step under a monitor, and give its rows by name."""
    with PrecisionMonitor(optimizer, every=1, **options) as monitor:
        for w, g in zip(weights, gradients, strict=True):
            w.grad = None if g is None else torch.tensor(g, dtype=w.dtype)
        optimizer.step()
    return {row.name: row for row in monitor.history}


def bf16(values):
    return torch.nn.Parameter(torch.tensor(values, dtype=torch.bfloat16))


def test_figures_of_four_weights_are_those_of_a_pencil():
    # The last place of 1 is 2**-7 above it: 1 + 2**-9 stays, 1 + 3 * 2**-9 goes up to 1 + 2**-7; around 0 the
    # update is exact, and an update of 0 changes nothing.
    w = bf16([1.0, 1.0, 0.0, 1.0])
    row = stepped(torch.optim.SGD([w], lr=1.0), [w], [[-(2.0**-9), -3 * 2.0**-9, -(2.0**-9), 0.0]])["0.0"]
    size = math.sqrt(1 + 9 + 1) * 2.0**-9
    assert row.intended_norm == pytest.approx(size, rel=1e-12)
    assert row.effective_norm == pytest.approx(math.sqrt(16 + 1) * 2.0**-9, rel=1e-12)
    assert row.edq == pytest.approx((4 * 3 + 1) * 2.0**-18 / size, rel=1e-12)
    assert row.edq_ratio == pytest.approx(13 / 11, rel=1e-12)
    assert (row.lost, row.imprecision) == (1 / 3, 2 / 4)
    assert (row.lost_full, row.edq_full_ratio, row.effective_full_norm) == (
        row.lost,
        row.edq_ratio,
        row.effective_norm,
    )


def test_a_pair_keeps_what_its_visible_part_loses():
    w = bf16([1.0, 1.0])
    row = stepped(SGD([w], lr=1.0, recipe="collage-light"), [w], [[-(2.0**-9), -3 * 2.0**-9]])["0.0"]
    assert row.edq_ratio == pytest.approx(4 * 3 / 10, rel=1e-12)
    assert row.edq_full_ratio == 1.0
    assert (row.lost, row.lost_full) == (0.5, 0.0)
    assert row.effective_full_norm == row.intended_norm


@pytest.mark.parametrize("recipe", ["exact32", "mixed", "24bit", "collage-light", "exact16"])
def test_the_intended_update_is_seen_although_float32_would_lose_it(recipe):
    w = bf16([1.0] * 8)
    row = stepped(SGD([w], lr=2.0**-60, recipe=recipe), [w], [[1.0] * 8])["0.0"]
    assert row.intended_norm == 0.0  # 1 - 2**-60 is 1 in float64 as well
    w = bf16([1.0] * 8)
    row = stepped(SGD([w], lr=2.0**-40, recipe=recipe), [w], [[1.0] * 8])["0.0"]
    assert row.intended_norm == pytest.approx(math.sqrt(8) * 2.0**-40, rel=2.0**-12)
    assert row.lost == 1.0


def test_groups_and_the_total_are_figures_of_all_elements_together():
    a, b = bf16([1.0]), bf16([0.0, 0.0])
    optimizer = torch.optim.SGD([{"params": [a], "lr": 2.0**-9}, {"params": [b], "lr": 1.0, "name": "new"}])
    rows = stepped(optimizer, [a, b], [[1.0], [1.0, 2.0]])
    assert [rows[name].lost for name in ("0.0", "1.0", "0", "new", "total")] == [1, 0, 1, 0, 1 / 3]
    assert rows["total"].edq_ratio == pytest.approx(5 / (5 + 2.0**-18), rel=1e-12)
    assert rows["total"].elements == 3
    assert (rows["0"].lr, rows["new"].lr) == (2.0**-9, 1.0)
    assert math.isnan(rows["total"].lr)


@pytest.mark.parametrize(
    "make",
    [
        lambda w: torch.optim.AdamW([w], lr=0.01, weight_decay=0.1),
        lambda w: torch.optim.Adam([w], lr=0.01, weight_decay=0.1, amsgrad=True, maximize=True),
        lambda w: torch.optim.SGD([w], lr=torch.tensor(0.01), momentum=0.9, nesterov=True),
        lambda w: torch.optim.AdamW([w], lr=0.01, fused=True),
        lambda w: torch.optim.NAdam([w], lr=0.01),
        lambda w: torch.optim.RMSprop([w], lr=0.01, momentum=0.5, centered=True),
        lambda w: torch.optim.Adagrad([w], lr=0.01),
        lambda w: torch.optim.Rprop([w], lr=0.01),
        lambda w: AdamW([w], lr=0.01, weight_decay=0.1, recipe="fp32", maximize=True),
        lambda w: Lion([w], lr=0.01, weight_decay=0.1, recipe="fp32"),
        lambda w: SGD([w], lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.1, recipe="fp32"),
    ],
)
def test_in_float32_every_rule_does_what_it_intends(make):
    # The float64 twin and the float32 step differ by rounding: 1e-4 of an update of 1e-2 on a weight of 1 is
    # 8 units of the last place, and a step rounds fewer times than that.
    w = torch.nn.Parameter(torch.linspace(0.5, 1.0, 64).reshape(8, 8))
    optimizer = make(w)
    generator = torch.Generator().manual_seed(0)
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for _ in range(3):
            w.grad = torch.randn(8, 8, generator=generator)
            optimizer.step()
    for row in monitor.history:
        assert row.edq_ratio == pytest.approx(1, abs=1e-4)
        assert row.effective_norm == pytest.approx(row.intended_norm, rel=1e-4)


def test_some_rows_stand_for_all():
    # Rows are 0 or 1 in turn; of 4,096 rows of 16 a draw of 512 has 1/2 +- 0.022 (one sigma) of each kind.
    w = torch.nn.Parameter(torch.arange(4096).remainder(2).float()[:, None].repeat(1, 16).bfloat16())
    row = stepped(torch.optim.SGD([w], lr=2.0**-10), [w], [[[1.0] * 16] * 4096], elements=512 * 16)["0.0"]
    assert row.elements == 4096 * 16
    assert row.intended_norm == pytest.approx(256 * 2.0**-10, rel=1e-12)
    assert row.lost == pytest.approx(0.5, abs=4 * 0.022)
    assert 0 < row.lost < 1


def test_frozen_empty_and_unused_parameters_are_left_out():
    used, frozen, unused, empty = bf16([1.0]), bf16([1.0]), bf16([1.0]), bf16([])
    frozen.requires_grad_(False)
    optimizer = AdamW([used, frozen, unused, empty], lr=1.0)
    rows = stepped(optimizer, [used, frozen, unused, empty], [[1.0], None, None, []])
    assert list(rows) == ["0.0", "0.3", "0", "total"]
    assert math.isnan(rows["0.3"].edq_ratio)
    assert rows["total"].elements == 1


def test_a_number_is_a_parameter_too():
    w = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.bfloat16))
    for optimizer in (
        torch.optim.AdamW([w], lr=0.25, weight_decay=0.0),
        AdamW([w], lr=0.25, weight_decay=0.0),
    ):
        with PrecisionMonitor(optimizer, every=1) as monitor:
            for _ in range(2):
                w.grad = torch.ones_like(w)
                optimizer.step()
        assert monitor.history[-1].edq_full_ratio == pytest.approx(1, abs=0.01)


def test_memory_that_is_not_contiguous_is_read_in_the_order_of_rows():
    images = torch.nn.Parameter(torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last).bfloat16())
    transposed = torch.nn.Parameter(torch.randn(6, 4).bfloat16().t())
    optimizer = AdamW([images, transposed], lr=1e-3, recipe="24bit")
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for _ in range(2):
            images.grad = torch.randn(4, 3, 5, 5).bfloat16().to(memory_format=torch.channels_last)
            transposed.grad = torch.randn(6, 4).bfloat16().t()
            optimizer.step()
    for row in monitor.history[-4:]:
        # A second moment of bfloat16 is off by at most 2**-7 after each of two roundings.
        assert row.edq_full_ratio == pytest.approx(1, abs=0.01)
        assert row.v_ratio == pytest.approx(1, abs=2 * 2.0**-7)


def test_a_rule_that_is_not_known_is_measured_by_what_it_did():
    class Mine(torch.optim.SGD):
        pass

    w = bf16([1.0, 0.0])
    row = stepped(Mine([w], lr=2.0**-9), [w], [[1.0, 1.0]])["0.0"]
    assert row.effective_norm == 2.0**-9
    assert row.imprecision == 0.5
    assert all(math.isnan(value) for value in (row.intended_norm, row.edq, row.edq_ratio, row.lost))


def test_sparse_gradients_leave_the_intended_update_unknown():
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    with PrecisionMonitor(optimizer, every=1, model=table) as monitor:
        table(torch.tensor([1])).sum().backward()
        optimizer.step()
    assert monitor.history[0].effective_norm == pytest.approx(math.sqrt(2))
    assert math.isnan(monitor.history[0].intended_norm)


def test_weights_that_are_not_finite_are_counted():
    w = bf16([1.0, 3e38])
    row = stepped(torch.optim.SGD([w], lr=1.0), [w], [[1.0, -3e38]])["0.0"]
    assert row.nonfinite == 0.5
