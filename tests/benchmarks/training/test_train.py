"""Training runs: caught batches without a seed, hidden weights, uncounted bytes, seeds in place of many."""

import pytest
import torch

from benchmarks.training import contestants, data, drift, instruments, models, ours, plans, train


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return data.read_text(path)


def few_steps(text, build, seed=0, n_steps=6):
    torch.set_num_threads(1)
    model = models.make_model("lstm", text.n_characters, seed)
    weights = train.stored_weights(model)
    stepper = build(train.groups(weights), 0.95, seed)
    schedule = train.Schedule(n_steps, 2, 2, 1e-2, 0.1)
    n_done, _ = train.descend(model, weights, stepper, text, schedule, seed)
    return model, weights, stepper, n_done


def test_a_seed_stands_for_the_same_batches_and_first_weights(text):
    first, again, other = (next(data.batches(text.train, 3, 8, seed)) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[0][:, 1:], first[1][:, :-1])
    assert not torch.equal(first[0], other[0])
    one, two = (models.make_model("transformer", 5, 1).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_model_only_ever_sees_bfloat16_weights(text):
    model, weights, _, _ = few_steps(text, ours.CONTESTANTS[instruments.REFERENCE])
    for shown, stored in zip(model.parameters(), weights, strict=True):
        assert stored.dtype is torch.bfloat16
        assert torch.equal(shown, stored.float())


def test_the_reference_is_torchs_adamw_on_copies_in_fp32(text):
    _, weights, stepper, _ = few_steps(text, ours.CONTESTANTS[instruments.REFERENCE], n_steps=2)
    copies = list(stepper.tensors())[: len(weights)]
    assert all(copy.dtype is torch.float32 for copy in copies)
    assert any(not torch.equal(copy, copy.bfloat16().float()) for copy in copies)
    assert contestants.bytes_per_parameter(weights, stepper) == pytest.approx(14, abs=1e-3)


def test_tensors_inside_containers_are_counted_once():
    state = {"a": torch.zeros(3), "b": [torch.zeros(2), {"c": (torch.zeros(1), "text", 4)}]}
    assert sum(t.numel() for t in contestants.tensors_in(state)) == 6


def test_a_loss_that_is_not_finite_ends_the_run(text):
    class Broken(contestants.Master):
        def step(self, rate):
            self.groups[0]["params"][0].data.fill_(float("nan"))

    *_, n_done = few_steps(text, lambda groups, beta2, seed: Broken(groups, beta2))
    assert n_done == 1


def test_a_schedule_warms_up_and_ends_at_its_last_rate():
    schedule = train.Schedule(100, 10, 1, 2.0, 0.5)
    rates = [schedule.rate_at(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) <= 2.0
    assert rates[100] == pytest.approx(1.0)
    assert train.Schedule(100, 10, 1, 2.0, 1.0).rate_at(99) == 2.0


def test_the_drift_of_exact_storage_is_nil_and_that_of_bfloat16_is_not(monkeypatch):
    monkeypatch.setattr(drift, "_TIME_CONSTANTS", 0.6)
    exact = drift.drift(instruments.REFERENCE, 0.999)["after the drop"]
    assert exact["mean"] == pytest.approx(1.0, abs=1e-4)
    assert drift.drift("torch bf16", 0.999)["after the drop"]["mean"] > 1.3


def test_the_smallest_candidates_and_the_reference_get_all_seeds():
    tasks = plans.scratch("lstm", 0.95, [instruments.REFERENCE, "4bit-min", "torch bf16"])
    seeds = [t["arguments"]["seed"] for t in tasks if t["arguments"]["contestant"] == "4bit-min"]
    assert seeds == list(range(plans.N_SEEDS))
    assert sum(t["arguments"]["contestant"] == "torch bf16" for t in tasks) == plans.N_SEEDS_OF_OTHERS
