"""Who takes part beside our recipes: torch with and without fp32 master weights, and other libraries.

All of them own bfloat16 parameters with bfloat16 gradients; the model only ever reads those parameters.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmarks.training.instruments import REFERENCE

BETA_1, EPS, WEIGHT_DECAY = 0.9, 1e-8, 0.1

Groups = list[dict[str, Any]]


class Stepper(Protocol):
    """What the training loop needs of an optimizer."""

    def step(self, rate: float) -> None:
        """Make one step at this learning rate from the gradients that the parameters hold."""

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor that is kept between steps beside the parameters themselves."""

    @property
    def lengthening(self) -> float:
        """What denominators of steps are multiplied by beyond the usual."""

    def second_moment(self, parameter: Tensor) -> Tensor:
        """The stored mean of squared gradients without its start-up bias, as float32."""


Build = Callable[[Groups, float, int], Stepper]  # groups of parameters, beta2, seed


@dataclass
class Plain:
    """An optimizer with torch's interface that works on the bfloat16 parameters themselves.

    Attributes
    ----------
    optimizer : torch.optim.Optimizer
        Its state calls the second moment ``exp_avg_sq``.
    debiased : bool
        Whether that moment is stored without its start-up bias.
    """

    optimizer: Optimizer
    debiased: bool = False
    n_steps: int = field(default=0, init=False)
    lengthening = 1.0

    def step(self, rate: float) -> None:
        """Set the rate and step; rates that are tensors stay the same tensors."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.optimizer.step()
        self.n_steps += 1

    def tensors(self) -> Iterator[Tensor]:
        """All tensors in its state."""
        for state in self.optimizer.state.values():
            yield from tensors_in(state)

    def second_moment(self, parameter: Tensor) -> Tensor:
        """The stored moment, divided by what the zero at its start takes from it."""
        stored = self.optimizer.state[parameter]["exp_avg_sq"]
        stored = stored.dequantize() if hasattr(stored, "__tensor_flatten__") else stored
        return stored.float() if self.debiased else stored.float() / self.weight_so_far()

    def weight_so_far(self) -> float:
        """Sum of the weights of all gradients in the average: 1 - beta2**steps."""
        return 1.0 - float(self.optimizer.param_groups[0]["betas"][1]) ** self.n_steps


@dataclass
class Master:
    """torch.optim.AdamW on fp32 copies of the parameters: what the others are compared with.

    Attributes
    ----------
    groups, beta2, seed : Groups, float, int
        Parameters with their decay; decay rate of the second moment; of the jitter.
    jitter : float
        Relative noise on the first copies, to see what chaos alone does.
    rate_factor : float
        Multiplies every learning rate, to see what a longer step does.
    """

    groups: Groups
    beta2: float
    seed: int = 0
    jitter: float = 0.0
    rate_factor: float = 1.0
    lengthening = 1.0
    _inner: Plain = field(init=False)
    _pairs: list[tuple[Tensor, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        noise = torch.Generator().manual_seed(self.seed)
        copies = [[self._copy(p, noise) for p in group["params"]] for group in self.groups]
        groups = [{**group, "params": copy} for group, copy in zip(self.groups, copies, strict=True)]
        parameters = [p for group in self.groups for p in group["params"]]
        self._pairs = list(zip(parameters, [c for copy in copies for c in copy], strict=True))
        self._inner = Plain(torch.optim.AdamW(groups, **arguments(self.beta2), fused=True))

    def _copy(self, parameter: Tensor, noise: torch.Generator) -> Tensor:
        copy = parameter.detach().float()
        return copy * (1 + self.jitter * torch.randn(copy.shape, generator=noise)) if self.jitter else copy

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Step on the copies and round them to the parameters."""
        for parameter, copy in self._pairs:
            copy.grad = parameter.grad.float()  # type: ignore[union-attr]
        self._inner.step(self.rate_factor * rate)
        for parameter, copy in self._pairs:
            parameter.copy_(copy)

    def tensors(self) -> Iterator[Tensor]:
        """The copies and both moments."""
        yield from (copy for _, copy in self._pairs)
        yield from self._inner.tensors()

    def second_moment(self, parameter: Tensor) -> Tensor:
        """That of the copy."""
        return self._inner.second_moment(next(copy for p, copy in self._pairs if p is parameter))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every plain tensor in nested containers; of a tensor subclass those that it is made of."""
    if hasattr(value, "__tensor_flatten__"):
        for name in value.__tensor_flatten__()[0]:
            yield from tensors_in(getattr(value, name))
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            yield from tensors_in(item)


def bytes_per_parameter(parameters: Iterable[Tensor], stepper: Stepper) -> float:
    """Bytes of weights and of everything kept between steps, over the number of weights; no gradients."""
    weights = list(parameters)
    n_bytes = sum(t.numel() * t.element_size() for t in [*weights, *stepper.tensors()])
    return n_bytes / sum(w.numel() for w in weights)


def arguments(beta2: float) -> dict[str, Any]:
    """Keyword arguments that every optimizer gets."""
    return {"lr": 0.0, "betas": (BETA_1, beta2), "eps": EPS}


def _torch_bf16(groups: Groups, beta2: float, seed: int) -> Stepper:
    return Plain(torch.optim.AdamW(groups, **arguments(beta2)))


def _optimi(groups: Groups, beta2: float, seed: int) -> Stepper:
    import optimi

    return Plain(optimi.AdamW(groups, **arguments(beta2), kahan_sum=True), debiased=True)


def _torchao(bits: int, *, stochastic: bool) -> Build:
    def build(groups: Groups, beta2: float, seed: int) -> Stepper:
        import torchao.optim

        torch.compiler.set_stance("force_eager")  # the same arithmetic without a minute of compilation
        make = {8: torchao.optim.AdamW8bit, 4: torchao.optim.AdamW4bit}[bits]
        return Plain(make(groups, **arguments(beta2), bf16_stochastic_round=stochastic))

    return build


def _master(**settings: float) -> Build:
    return lambda groups, beta2, seed: Master(groups, beta2, seed, **settings)


SCALES: dict[str, Build] = {
    REFERENCE: _master(),
    f"{REFERENCE}, weights jittered": _master(jitter=2.0**-18),
    f"{REFERENCE}, rate +10 %": _master(rate_factor=1.1),
}
PEERS: dict[str, Build] = {
    "torch bf16": _torch_bf16,
    "torchao 8-bit": _torchao(8, stochastic=False),
    "torchao 8-bit, stochastic weight": _torchao(8, stochastic=True),
    "torchao 4-bit": _torchao(4, stochastic=False),
    "torchao 4-bit, stochastic weight": _torchao(4, stochastic=True),
    "optimi Kahan": _optimi,
}
