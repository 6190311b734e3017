"""Gradient release: each parameter is stepped in the backward pass, and its gradient freed at once.

Of all gradients only those of the layers in work are in memory. The loop stays as it is: ``step`` marks the
end of a step. A step is the same as an ordinary one, bit for bit: what is drawn at random depends on the
parameter and on its count of steps, never on the order.
"""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.optim.base import Group, LowPrecisionOptimizer

__all__ = ["GradientRelease", "release_gradients"]


class GradientRelease:
    """What `release_gradients` returns: a context manager that ends the release when it is left.

    Parameters
    ----------
    optimizer : LowPrecisionOptimizer
        The optimizer whose parameters are stepped in the backward pass.
    """

    def __init__(self, optimizer: LowPrecisionOptimizer) -> None:
        self._optimizer = optimizer
        self._stepped: set[Tensor] = set()
        self._hooks = [
            p.register_post_accumulate_grad_hook(lambda p, group=group: self._step(group, p))
            for group in optimizer.param_groups
            for p in group["params"]
            if p.requires_grad
        ]
        optimizer._released = self

    def __enter__(self) -> GradientRelease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Give the optimizer its ordinary steps back."""
        for hook in self._hooks:
            hook.remove()
        self._optimizer._released = None

    def end_step(self, has_closure: bool, waiting: list[Tensor]) -> None:
        """Take a call of ``step`` as the end of a step.

        Parameters
        ----------
        has_closure : bool
            Whether one was given.
        waiting : list of Tensor
            Parameters that have a gradient still.

        Raises
        ------
        ParameterError
            If there was a closure, a loss scaler, or a gradient that no backward pass has brought.
        """
        if has_closure:
            raise ParameterError(
                "a closure came while gradients are released; its gradients would be spent before it "
                "returns: call backward() and then step()"
            )
        if hasattr(self._optimizer, "grad_scale"):
            raise ParameterError(
                "a GradScaler came while gradients are released; weights were stepped with scaled gradients: "
                "train in bfloat16 without a scaler, or without release"
            )
        if waiting:
            raise ParameterError(
                f"{len(waiting)} parameters came with a gradient that was not released: they were added "
                "later or their gradients were set by hand; call release_gradients when all groups are there"
            )
        self._stepped.clear()

    def _step(self, group: Group, p: Tensor) -> None:
        """Step one parameter and free its gradient."""
        if p in self._stepped:
            raise ParameterError(
                "a second gradient came before step() while gradients are released; the first one is spent, "
                "so they cannot be accumulated: use a larger batch, or train without release"
            )
        self._stepped.add(p)
        self._optimizer._advance([(group, p)])
        p.grad = None


def release_gradients(optimizer: LowPrecisionOptimizer) -> GradientRelease:
    """Step each parameter as soon as its gradient is there, and free the gradient.

    Call ``optimizer.step()`` after each backward pass as before: it marks the end of a step (schedulers and
    hooks of steps see it). Accumulation over several backward passes, closures, loss scalers and several
    processes are errors. Clipping by the norm of all gradients has nothing to clip: it finds no gradients and
    returns 0.

    Parameters
    ----------
    optimizer : LowPrecisionOptimizer
        An optimizer of `mezzotint.optim` with all its groups.

    Returns
    -------
    GradientRelease
        A context manager; its ``remove()`` ends the release.

    Raises
    ------
    ParameterError
        If it is no optimizer of ours, is released already, or other processes share the work: their gradients
        would be averaged after the step.

    Examples
    --------
    >>> from mezzotint.optim import AdamW
    >>> model = torch.nn.Linear(4, 4, dtype=torch.bfloat16)
    >>> optimizer = AdamW(model.parameters(), lr=1e-3)
    >>> with release_gradients(optimizer):
    ...     model(torch.ones(1, 4, dtype=torch.bfloat16)).sum().backward()
    ...     optimizer.step()
    >>> model.weight.grad is None
    True
    """
    if not isinstance(optimizer, LowPrecisionOptimizer):
        raise ParameterError(
            f"optimizer came as {type(optimizer).__name__}; allowed are optimizers of mezzotint.optim"
        )
    if optimizer._released is not None:
        raise ParameterError("gradients of this optimizer are released already; call remove() first")
    shared = torch.distributed.is_available() and torch.distributed.is_initialized()
    if shared and torch.distributed.get_world_size() > 1:
        raise ParameterError(
            f"gradients were to be released on {torch.distributed.get_world_size()} processes; they are "
            "averaged after the backward pass reaches them: shard with fully_shard and step as usual"
        )
    return GradientRelease(optimizer)
