"""Does a stored second moment follow gradients that become ten times smaller?"""

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training.contestants import Stepper
from benchmarks.training.ours import CONTESTANTS, IN_FLOAT32

_SHAPE = (64, 128)
_TIME_CONSTANTS, _LEAST_STEPS = 2.0, 200  # of each of the two phases
_OCTAVES = 1.0  # standard deviation of the elements' scales, cut at 2.5 of them
_DROP = 0.1
_RATE = 1e-3


def drift(contestant: str, beta2: float) -> dict[str, Any]:
    """Feed normal gradients, then the same ten times smaller; compare second moments with float64.

    Each phase lasts two time constants 1 / (1 - beta2), 200 steps at least. It is summed up by the mean and
    the spread over elements of stored / true, and by the mean of sqrt(true / stored): how much longer than
    right the steps are. After the drop the true moment has fallen to 14 % of what it was at beta2 = 0.999,
    and 100-fold at 0.95.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)  # for peers that draw random numbers
    generator = torch.Generator().manual_seed(1)
    scale = torch.exp2(_OCTAVES * torch.randn(_SHAPE, generator=generator).clamp(-2.5, 2.5))
    n_steps = max(_LEAST_STEPS, round(_TIME_CONSTANTS / (1 - beta2)))
    dtype = torch.float32 if contestant in IN_FLOAT32 else torch.bfloat16
    parameter = nn.Parameter(torch.randn(_SHAPE, generator=generator).to(dtype))
    stepper = CONTESTANTS[contestant]([{"params": [parameter], "weight_decay": 0.0}], beta2, 0)
    true, weight, measured = torch.zeros(_SHAPE, dtype=torch.float64), 0.0, {}
    for phase, factor in (("steady", 1.0), ("after the drop", _DROP)):
        for _ in range(n_steps):
            gradient = (factor * scale * torch.randn(_SHAPE, generator=generator)).bfloat16()
            true = beta2 * true + (1 - beta2) * gradient.double() ** 2
            weight = beta2 * weight + (1 - beta2)
            parameter.grad = gradient.to(dtype)
            stepper.step(_RATE)
        measured[phase] = _compared(stepper, parameter, true / weight)
    return measured


def _compared(stepper: Stepper, parameter: Tensor, true: Tensor) -> dict[str, float]:
    ratio = stepper.second_moment(parameter).double() / true
    return {
        "mean": float(ratio.mean()),
        "spread": float(ratio.std()),
        "zeros": float((ratio == 0).double().mean()),
        "step": float(ratio[ratio > 0].rsqrt().mean()) / stepper.lengthening,
    }
