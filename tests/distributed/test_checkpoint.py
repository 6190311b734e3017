"""Would catch: a checkpoint that loses bits or dtypes, on as many ranks as saved it or on others."""

import pytest
import torch
from tests.distributed import jobs
from tests.distributed.launch import needs_gloo, on_ranks

pytestmark = needs_gloo


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Save on two ranks after two steps, load on three, step, save, load on one, step."""
    first, second = (str(tmp_path_factory.mktemp(name)) for name in ("two", "three"))
    on_ranks(2, jobs.save_all, first, [0, 1])
    three = on_ranks(3, jobs.load_all, first, [2], second)
    with pytest.warns(UserWarning, match="load in a single process"):
        return three, jobs.load_all(second, [3])


@pytest.mark.parametrize("case", jobs.CASES)
def test_three_ranks_load_what_two_saved(chain, case):
    loaded = jobs.joined([answers[0][case] for answers in chain[0]])
    torch.testing.assert_close(loaded, jobs.train_here(case, 2), rtol=0, atol=0)


@pytest.mark.parametrize("case", jobs.CASES)
def test_three_ranks_train_on_as_if_nothing_had_happened(chain, case):
    trained = jobs.joined([answers[1][case] for answers in chain[0]])
    torch.testing.assert_close(trained, jobs.train_here(case, 3), rtol=0, atol=0)


@pytest.mark.parametrize("case", jobs.CASES)
def test_one_process_loads_what_three_saved_and_trains_on(chain, case):
    loaded, trained = (jobs.joined([answer[case]]) for answer in chain[1])
    torch.testing.assert_close(loaded, jobs.train_here(case, 3), rtol=0, atol=0)
    torch.testing.assert_close(trained, jobs.train_here(case, 4), rtol=0, atol=0)
