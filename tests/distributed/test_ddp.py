"""Would catch: a step that differs between ranks whose gradients are the same, or from one process."""

import torch
from tests.distributed import jobs
from tests.distributed.launch import needs_gloo, on_ranks

pytestmark = needs_gloo


def test_two_ranks_give_the_bits_of_one_process_with_their_mean_gradient():
    answers = on_ranks(2, jobs.average)
    alone = jobs.joined([jobs.step_with(answers[0][0])])
    for averages, answer in answers:
        torch.testing.assert_close(averages, answers[0][0], rtol=0, atol=0)
        torch.testing.assert_close(jobs.joined([answer]), alone, rtol=0, atol=0)
