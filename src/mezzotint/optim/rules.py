"""Update rules: one step of AdamW, Adam, Lion and SGD as pure functions of float32 tensors.

A rule sees numbers, never how they are stored. Every operation below is one IEEE operation on float32, in
this order: native and Triton kernels follow it, so all backends give the same bits. Host numbers (rates,
bias corrections) are computed in float64 and rounded once.

Weight decay is part of the one update that is added to the weight, so a compensated weight keeps all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.optim.floats import square_root

__all__ = ["AdamRule", "Hyper", "LionRule", "Moments", "Rule", "RuleName", "SGDRule"]

Scalar = float | Tensor
Moments = tuple[Tensor, ...]


class RuleName(StrEnum):
    """The rules that kernels know."""

    ADAM = "adam"
    LION = "lion"
    SGD = "sgd"


@dataclass(frozen=True)
class Hyper:
    """The numbers of one step; float32 values, as floats or as 0-d tensors.

    Attributes
    ----------
    rate : float or Tensor
        Size of the step: lr / (1 - beta1**t) for Adam, lr otherwise.
    decay : float or Tensor
        Decoupled decay of this step, lr * weight_decay.
    l2 : float or Tensor
        Coupled decay, added to the gradient as l2 * weight.
    keep1, add1 : float or Tensor
        Factors of the first moment and of the gradient in its average.
    keep2, add2 : float or Tensor
        The same of the second moment; of Lion, those of the moment (its first pair makes the update).
    root : float or Tensor
        1 / sqrt(1 - beta2**t), times `Recipe.lengthening`.
    root_before : float or Tensor
        The same of the step before, which stored the first moment; 1 in the first step.
    eps : float or Tensor
        Added to the root of the second moment.
    carry : float or Tensor
        What a residual of the first moment is worth: its rate times its sum over all later steps.
    """

    rate: Scalar
    decay: Scalar = 0.0
    l2: Scalar = 0.0
    keep1: Scalar = 0.0
    add1: Scalar = 1.0
    keep2: Scalar = 0.0
    add2: Scalar = 0.0
    root: Scalar = 1.0
    root_before: Scalar = 1.0
    eps: Scalar = 0.0
    carry: Scalar = 0.0


class Rule(Protocol):
    """One step of an optimizer."""

    @property
    def name(self) -> RuleName:
        """Which kernel runs it."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the states it averages, the first moment first."""

    @property
    def can_carry(self) -> bool:
        """Whether what storing lost of the first moment can be paid to the weight."""

    def step(self, w: Tensor, g: Tensor, moments: Moments, h: Hyper) -> tuple[Tensor, Moments]:
        """Give the new weight and the new moments."""

    def reference(self, second: Tensor, root: Scalar) -> Tensor:
        """Give what a first moment is coded relative to: the root of the stored second one."""

    def paid(self, residual: Tensor, reference: Tensor | None, h: Hyper) -> Tensor:
        """Give the weight update that a residual of the first moment would have made in all later steps."""


@dataclass(frozen=True)
class AdamRule:
    """Adam and AdamW: they differ in which of `Hyper.l2` and `Hyper.decay` is not zero.

    m = keep1 m + add1 g;  v = keep2 v + add2 g g;  w = w - (rate (m / (root sqrt(v) + eps)) + decay w).

    References
    ----------
    Kingma, Ba, ICLR 2015, algorithm 1; Loshchilov, Hutter, ICLR 2019, algorithm 2.
    """

    name = RuleName.ADAM
    moments = ("exp_avg", "exp_avg_sq")
    can_carry = True

    def step(self, w: Tensor, g: Tensor, moments: Moments, h: Hyper) -> tuple[Tensor, Moments]:
        """Average gradient and its square, and step along their quotient."""
        m, v = moments
        g = g + h.l2 * w
        m = h.keep1 * m + h.add1 * g
        v = h.keep2 * v + h.add2 * (g * g)
        update = h.rate * (m / (self.reference(v, h.root) + h.eps))
        return w - (update + h.decay * w), (m, v)

    def reference(self, second: Tensor, root: Scalar) -> Tensor:
        """Give root * sqrt(v)."""
        return square_root(second) * root

    def paid(self, residual: Tensor, reference: Tensor | None, h: Hyper) -> Tensor:
        """Give carry * residual / (root sqrt(v) + eps), with the stored v: later steps will divide by it."""
        assert reference is not None
        return h.carry * (residual / (reference + h.eps))


@dataclass(frozen=True)
class LionRule:
    """Lion: the sign of an average is the step.

    u = sign(keep1 m + add1 g);  w = w - (rate u + decay w);  m = keep2 m + add2 g.

    References
    ----------
    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.
    """

    name = RuleName.LION
    moments = ("exp_avg",)
    can_carry = False

    def step(self, w: Tensor, g: Tensor, moments: Moments, h: Hyper) -> tuple[Tensor, Moments]:
        """Step by the sign, then average."""
        (m,) = moments
        update = h.rate * torch.sign(h.keep1 * m + h.add1 * g)
        return w - (update + h.decay * w), (h.keep2 * m + h.add2 * g,)

    def reference(self, second: Tensor, root: Scalar) -> Tensor:
        """Not defined: Lion has no second moment."""
        raise NotImplementedError

    def paid(self, residual: Tensor, reference: Tensor | None, h: Hyper) -> Tensor:
        """Not defined: a sign has no share that a residual could be worth."""
        raise NotImplementedError


@dataclass(frozen=True)
class SGDRule:
    """SGD, with or without momentum.

    b = keep1 b + add1 (g + l2 w);  w = w - rate b, or rate (g + l2 w + keep1 b) with Nesterov's look-ahead.

    Attributes
    ----------
    has_momentum : bool
        Whether b is kept; without it the gradient is the step.
    nesterov : bool
        Whether the step looks ahead.

    References
    ----------
    Sutskever et al., ICML 2013, equations 1 and 3, in the form of torch.optim.SGD.
    """

    has_momentum: bool = False
    nesterov: bool = False

    name = RuleName.SGD

    @property
    def moments(self) -> tuple[str, ...]:
        """The momentum buffer, if there is one."""
        return ("momentum_buffer",) if self.has_momentum else ()

    @property
    def can_carry(self) -> bool:
        """Where there is momentum."""
        return self.has_momentum

    def step(self, w: Tensor, g: Tensor, moments: Moments, h: Hyper) -> tuple[Tensor, Moments]:
        """Average, and step along the average."""
        g = g + h.l2 * w
        if not moments:
            return w - h.rate * g, ()
        b = h.keep1 * moments[0] + h.add1 * g
        return w - h.rate * (g + h.keep1 * b if self.nesterov else b), (b,)

    def reference(self, second: Tensor, root: Scalar) -> Tensor:
        """Not defined: SGD has no second moment."""
        raise NotImplementedError

    def paid(self, residual: Tensor, reference: Tensor | None, h: Hyper) -> Tensor:
        """Give carry * residual."""
        return h.carry * residual
