"""Would catch: a checkpoint that loses bits or dtypes, on as many ranks as saved it or on others.

Caught: 16-bit integers handed to gloo; counts of steps that started anew.
"""

import pytest
import torch
from tests.distributed import jobs
from tests.distributed.launch import needs_gloo, on_ranks
from torch.distributed.checkpoint.state_dict import set_state_dict

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


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gathered")
    on_ranks(2, jobs.gather, str(folder))
    return folder


@pytest.mark.parametrize("case", ["exact32", "exact16", "8bit"])
def test_a_checkpoint_gathered_on_one_rank_is_loaded_by_one_process(gathered, case):
    saved = torch.load(gathered / f"{case}.pt", weights_only=True)
    model = jobs.model_of(case)
    optimizer = jobs.optimizer_of(case, model, seed=6)
    set_state_dict(model, optimizer, model_state_dict=saved["model"], optim_state_dict=saved["optimizer"])
    whole = jobs.joined([jobs.train(model, optimizer, [2])])
    torch.testing.assert_close(whole, jobs.train_here(case, 3), rtol=0, atol=0)
