"""The monitor inside training loops: caught a step that a scaler skipped and that counted, stale gradients.

Also made and seen to fail: gradients taken as scaled, hooks that stayed after close, numbers drawn from the
generator of torch, measurements one step late, weights changed from outside taken for updates.
"""

import pytest
import torch

from mezzotint.errors import ParameterError
from mezzotint.monitor import PrecisionMonitor
from mezzotint.optim import AdamW


def model_of(dtype=torch.bfloat16):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)).to(dtype)


def train(model, optimizer, steps):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(4, 8, generator=generator).to(next(model.parameters()).dtype)
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_a_measurement_is_made_at_every_multiple_of_every():
    model = model_of()
    optimizer = AdamW(model.parameters())
    with PrecisionMonitor(optimizer, every=3) as monitor:
        train(model, optimizer, 10)
    assert [row.step for row in monitor.history if row.kind == "total"] == [3, 6, 9]
    assert monitor.step == 10
    assert monitor.seconds > 0


def test_a_resumed_run_counts_on():
    model = model_of()
    optimizer = AdamW(model.parameters())
    with PrecisionMonitor(optimizer, every=3, start=7) as monitor:
        train(model, optimizer, 3)
    assert {row.step for row in monitor.history} == {9}


def test_history_holds_the_last_measurements():
    model = model_of()
    optimizer = AdamW(model.parameters())
    with PrecisionMonitor(optimizer, every=1, keep=2) as monitor:
        train(model, optimizer, 5)
    assert sorted({row.step for row in monitor.history}) == [4, 5]


@pytest.mark.parametrize("make", [AdamW, torch.optim.AdamW])
def test_a_run_is_the_same_with_and_without_a_monitor(make):
    weights = []
    for watched in (False, True):
        model = model_of()
        optimizer = make(model.parameters(), lr=1e-2)
        monitor = PrecisionMonitor(optimizer, every=2) if watched else None
        train(model, optimizer, 6)
        dropped = torch.rand(1)
        weights.append([*(p.detach().clone() for p in model.parameters()), dropped])
        state = optimizer.state[next(model.parameters())]
        weights[-1] += [state[key].clone() for key in sorted(state)]
    assert monitor.history
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_closing_removes_every_hook():
    model = model_of()
    optimizer = AdamW(model.parameters())
    monitor = PrecisionMonitor(optimizer, every=1)
    monitor.close()
    monitor.close()
    train(model, optimizer, 2)
    assert monitor.step == 0
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_load_state_dict_post_hooks


def test_parameters_have_the_names_of_the_model_or_of_the_groups():
    model = model_of()
    expected = ["0.weight", "0.bias", "1.weight", "1.bias"]
    by_model = (torch.optim.SGD(model.parameters()), {"model": model})
    by_group = (torch.optim.SGD(model.named_parameters()), {})
    by_number = (torch.optim.SGD(model.parameters()), {})
    for (optimizer, options), names in ((by_model, expected), (by_group, expected), (by_number, None)):
        with PrecisionMonitor(optimizer, every=1, **options) as monitor:
            train(model, optimizer, 1)
        found = [row.name for row in monitor.history if row.kind == "parameter"]
        assert found == (names or ["0.0", "0.1", "0.2", "0.3"])


@pytest.mark.parametrize("keyword", [False, True])
@pytest.mark.parametrize("make", [AdamW, torch.optim.AdamW])
def test_gradients_that_a_closure_makes_are_seen(make, keyword):
    w = torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    optimizer = make([w], lr=0.5, weight_decay=0.0)

    def closure():
        w.grad = torch.ones_like(w)
        return torch.tensor(3.0)

    with PrecisionMonitor(optimizer, every=1) as monitor:
        for _ in range(2):
            w.grad = None
            loss = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
            assert loss == 3.0
    assert [row.intended_norm for row in monitor.history if row.kind == "total"] == pytest.approx(
        [1.0, 1.0], rel=0.01
    )
    assert monitor.history[-1].v_ratio == pytest.approx(1, abs=0.01)


def test_a_closure_that_is_called_many_times_is_looked_at_once():
    w = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([w], max_iter=5)

    def closure():
        w.grad = 2 * w.detach()
        return w.square().sum()

    with PrecisionMonitor(optimizer, every=1) as monitor:
        optimizer.step(closure)
    assert [row.step for row in monitor.history] == [1, 1, 1]
    assert monitor.history[-1].effective_norm > 0.5


def scaled_gradient(scaler, w, gradient):
    """Make the gradient that a scaled loss would give."""
    w.grad = None
    (scaler.scale((w * torch.tensor(gradient)).sum())).backward()


@pytest.mark.parametrize("fused", [False, True])
def test_steps_that_a_scaler_skips_do_not_count(fused):
    w = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([w], lr=0.5, weight_decay=0.0, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for gradient in ([1.0, 1.0], [float("inf"), 1.0], [2.0, 2.0]):
            scaled_gradient(scaler, w, gradient)
            scaler.step(optimizer)
            scaler.update()
    assert monitor.step == 2
    totals = [row for row in monitor.history if row.kind == "total"]
    assert [row.edq_ratio for row in totals] == pytest.approx([1, 1], abs=1e-5)
    assert [row.v_ratio for row in totals] == pytest.approx([1, 1], abs=1e-5)


def test_groups_that_are_added_later_are_seen():
    a, b = (torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16)) for _ in range(2))
    optimizer = AdamW([a])
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for params in ([a], [a, b]):
            if len(params) == 2:
                optimizer.add_param_group({"params": [b], "lr": 0.5})
            for p in params:
                p.grad = torch.ones_like(p)
            optimizer.step()
    assert [row.name for row in monitor.history] == ["0.0", "0", "total", "0.0", "1.0", "0", "1", "total"]


def test_weights_changed_from_outside_do_not_count_as_updates():
    w = torch.nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    optimizer = AdamW([w], lr=2.0**-12, recipe="mixed", weight_decay=0.0)
    with PrecisionMonitor(optimizer, every=1) as monitor:
        for value in (1.0, 5.0):
            with torch.no_grad():
                w.fill_(value)
            w.grad = torch.ones_like(w)
            optimizer.step()
    assert monitor.history[-1].effective_full_norm == pytest.approx(2 * 2.0**-12, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every came as 0"),
        ({"sample": -1}, "sample came as -1"),
        ({"sample": 5000}, "at most 4096"),
        ({"elements": 0}, "elements came as 0"),
        ({"write": 3}, "write came as int"),
    ],
)
def test_arguments_out_of_range_are_refused_in_words(options, message):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    with pytest.raises(ParameterError, match=message):
        PrecisionMonitor(optimizer, **options)
    assert not optimizer._optimizer_step_pre_hooks
