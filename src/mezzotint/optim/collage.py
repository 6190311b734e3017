"""Collage's published arithmetic: every operation of a step is rounded to bfloat16.

For reproduction, and for hardware without wider units. The arithmetic of ``arithmetic="fp32"`` costs no more
memory and rounds less; the two are compared in the study of recipes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.expansions import grow, mul, split
from mezzotint.optim.codecs import Parts
from mezzotint.optim.floats import square_root
from mezzotint.optim.rules import Hyper
from mezzotint.optim.task import Task

__all__ = ["step_bf16"]


def step_bf16(task: Task) -> None:
    """Step Adam or AdamW in bfloat16: plain, Collage-light or Collage-plus, by what the parts hold.

    With every result rounded to bfloat16 (b1, b2, rates and corrections are float64 on the host)::

        m = b1 m + (1 - b1) g
        q = ((1 - b2) g) g
        v = b2 v + q                          times the pair of b2, grown by q, where v has a low part
        d = -rate (m / (sqrt(v) root + eps)) - decay w
        w = w + d                             grown by d where w has a low part

    Parameters
    ----------
    task : Task
        The parameter, its state and the numbers of the step; weight and moments are overwritten.

    Raises
    ------
    ParameterError
        In a compiled step whose compiler drops roundings: the low parts would silently be lost.

    Notes
    -----
    The product of pairs reads its operands before anything is overwritten, and b2 is split explicitly,
    whatever the default dtype (tests/optim/test_collage.py).

    References
    ----------
    Yu, Gupta et al., "Collage: light-weight low-precision strategy for LLM training", ICML 2024, algorithm 2.
    """
    _refuse_dropped_roundings()
    h, w = task.hyper, task.weight[""]
    g = task.gradient.to(torch.bfloat16)
    g = (-g if task.maximize else g) + h.l2 * w
    m, v = task.moments
    m[""].copy_(h.keep1 * m[""] + h.add1 * g)
    _average_square(v, (h.add2 * g) * g, h)
    root = square_root(v[""].float()).to(torch.bfloat16)
    update = -h.rate * (m[""] / (root * h.root + h.eps))
    if task.decay_style == "compact":
        update = update - h.decay * w
    elif task.decay_style == "torch":
        w.mul_(1.0 - h.decay)
    _add(task.weight, update)
    if task.decay_style == "HF":
        w.sub_(h.decay * w)


def _average_square(v: Parts, q: Tensor, h: Hyper) -> None:
    """Let the second moment decay and add to it; to nearest it would stand still for b2 near 1."""
    if "_lo" not in v:
        v[""].copy_(h.keep2 * v[""] + q)
        return
    factor = split(h.keep2, torch.bfloat16)
    device = q.device
    pair = mul((v[""], v["_lo"]), (factor.hi.to(device), factor.lo.to(device)))
    for part, new in zip(("", "_lo"), grow(pair, q), strict=True):
        v[part].copy_(new)


def _add(weight: Parts, d: Tensor) -> None:
    """Add an update to the weight, and keep what rounding cuts off where there is room for it."""
    if "_lo" not in weight:
        weight[""].copy_(weight[""] + d)
        return
    for part, new in zip(("", "_lo"), grow((weight[""], weight["_lo"]), d), strict=True):
        weight[part].copy_(new)


def _refuse_dropped_roundings() -> None:
    """Compilers carry float32 between fused operations unless told not to; every error term is zero then."""
    if torch.compiler.is_compiling():
        import torch._inductor.config as inductor

        if not inductor.emulate_precision_casts:
            raise ParameterError(
                "arithmetic='bf16' came inside a compiled step, where roundings are dropped; set "
                "torch._inductor.config.emulate_precision_casts = True, or use arithmetic='fp32'"
            )
