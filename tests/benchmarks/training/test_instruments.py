"""What runs say: caught checkpoints mixed up, unpaired means, a normal quantile, verdicts by means alone."""

import math

import pytest
from benchmarks.training.instruments import Difference

from benchmarks.training import instruments


def difference(low, high, n=8, n_diverged=0):
    """A difference whose interval is low to high in percent of a loss of 2."""
    mean, half = (low + high) / 100, (high - low) / 100
    return Difference(mean=mean, half_width=half, base=2.0, n=n, n_diverged=n_diverged)


def test_only_runs_of_the_same_seed_and_checkpoint_are_compared():
    reference = {(0, 0): 1.0, (1, 0): 2.0, (2, 0): 3.0}
    mine = {(1, 0): 2.25, (0, 0): 1.25, (0, 1): 9.0}
    found = instruments.paired(mine, reference)
    assert (found.mean, found.n, found.base) == (0.25, 2, 1.5)
    assert found.relative == pytest.approx(0.25 / 1.5)


def test_the_interval_is_students():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.302653 by the tables
    assert instruments.half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert instruments.half_width([1.0]) == math.inf


def test_a_run_that_diverged_is_counted_and_not_averaged():
    found = instruments.paired({(0, 0): None, (0, 1): 1.5}, {(0, 0): 1.0, (0, 1): 1.0})
    assert (found.mean, found.n, found.n_diverged) == (0.5, 1, 1)
    assert instruments.scratch_verdict(found) == "diverges in 1 of 2"
    assert instruments.low_noise_verdict(found, 1.0, 0.0) == "diverges in 1 of 2"


def test_a_pair_whose_reference_diverged_says_nothing():
    found = instruments.paired({(0, 0): 1.0}, {(0, 0): None})
    assert found.n == found.n_diverged == 0


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.5, 0.5, "parity"),
        (0.1, 0.4, "parity"),
        (-0.51, 0.3, "open"),
        (0.1, 0.51, "open, higher"),
        (-0.6, -0.1, "open, lower"),
        (0.51, 0.9, "worse"),
        (-0.9, -0.51, "better"),
    ],
)
def test_parity_needs_the_whole_interval_inside_half_a_percent(low, high, verdict):
    assert instruments.scratch_verdict(difference(low, high)) == verdict


def test_a_single_seed_decides_nothing():
    found = instruments.paired({(0, 0): 1.0}, {(0, 0): 1.0})
    assert instruments.scratch_verdict(found) == "open"


def test_within_means_no_more_than_the_largest_difference_of_a_near_exact_run():
    reference = {(0, 0): 1.0, (0, 1): 1.0}
    noise = instruments.spread([{(0, 0): 1.03, (0, 1): 0.97}, {(0, 0): 1.01, (0, 1): None}], reference)
    assert noise == pytest.approx(0.03)
    assert instruments.low_noise_verdict(difference(-1.0, 2.0), 0.0101, 0.0) == "within"
    assert instruments.low_noise_verdict(difference(-1.0, 2.04), 0.0101, 0.0) == "higher"
    assert instruments.low_noise_verdict(difference(-2.04, 1.0), 0.0101, 0.0) == "lower"


def test_slight_is_what_a_tenth_more_of_learning_rate_would_do():
    assert instruments.low_noise_verdict(difference(-1.0, 3.0), 0.001, 0.02) == "slightly higher"
    assert instruments.low_noise_verdict(difference(-3.0, 1.0), 0.001, 0.02) == "slightly lower"
    assert instruments.low_noise_verdict(difference(-1.0, 3.02), 0.001, 0.02) == "higher"


def test_losses_are_found_by_their_arguments():
    def record(beta2, seed, loss, checkpoint=0):
        arguments = {"contestant": "a", "beta2": beta2, "seed": seed, "checkpoint": checkpoint}
        return {"arguments": arguments, "measured": {"loss": loss}}

    records = [record(0.95, 0, 1.0), record(0.999, 0, 2.0), record(0.999, 1, None), record(0.999, 0, 3.0, 1)]
    assert instruments.losses(records, beta2=0.999) == {"a": {(0, 0): 2.0, (0, 1): None, (1, 0): 3.0}}
