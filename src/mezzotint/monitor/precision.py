"""PrecisionMonitor: what precision loses while a model trains, seen from hooks of its optimizer."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.monitor.advice import Observation, advise
from mezzotint.monitor.measure import Before, compared, second_moment_sums, vector
from mezzotint.monitor.reduce import reduced
from mezzotint.monitor.rows import Row, make_row, merge, normalised
from mezzotint.monitor.shadow import Observed, Shadow
from mezzotint.monitor.sinks import sink_for
from mezzotint.monitor.storage import storage_of
from mezzotint.monitor.subject import Group, Subject, subject_of

__all__ = ["PrecisionMonitor"]

_MOST_SAMPLES = 4096


class PrecisionMonitor:
    """Measures what each step was to do and what it did, without a change to the training loop.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        One of mezzotint's, or any other. The intended update is known for mezzotint's and for the elementwise
        rules of torch.optim (Adam, AdamW, SGD, NAdam, RAdam, Adamax, RMSprop, Rprop, Adagrad, Adadelta,
        ASGD); of others the effective update alone is reported.
    every : int, default 100
        A measurement is made at steps `every`, 2 * `every`, and so on.
    model : torch.nn.Module, optional
        Gives parameters their names; without it they have those of the optimizer's groups, if it was made
        from ``model.named_parameters()``, or else "0.1": group 0, parameter 1.
    sample : int, default 1024
        Elements per parameter whose second moment is shadowed in float64, at most 4096. Those are updated
        every step; 0 leaves second moments out.
    elements : int or None, default 2**16
        About how many elements per parameter a measurement looks at, in whole rows drawn at random; sums are
        scaled to all elements. None looks at all of them.
    write : str, path, SummaryWriter, callable, or list of these, optional
        Where measurements go: a CSV file, TensorBoard, or a function of ``(step, dict)``.
    start : int, default 0
        Steps that a resumed run has made already.
    keep : int, default 1000
        How many measurements `history` holds.

    Attributes
    ----------
    step : int
        Steps made so far; those that a GradScaler skipped do not count.
    seconds : float
        Time spent in the hooks so far.

    Raises
    ------
    ParameterError
        If an argument is outside its range.
    FileError
        If a CSV file exists and is not a monitor's.

    References
    ----------
    Yu et al., "Collage: light-weight low-precision strategy for LLM training", ICML 2024: EDQ and lost
    arithmetic.

    Examples
    --------
    >>> import torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 0.0], dtype=torch.bfloat16))
    >>> optimizer = torch.optim.SGD([w], lr=1e-3)
    >>> with PrecisionMonitor(optimizer, every=1) as monitor:
    ...     w.grad = torch.ones_like(w)
    ...     optimizer.step()
    >>> monitor.history[-1].lost
    0.5
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        every: int = 100,
        *,
        model: torch.nn.Module | None = None,
        sample: int = 1024,
        elements: int | None = 2**16,
        write: Any = None,  # noqa: ANN401 - see sink_for
        start: int = 0,
        keep: int = 1000,
    ) -> None:
        _check(1, every=every, elements=elements, keep=keep)
        _check(0, sample=sample, start=start)
        if sample > _MOST_SAMPLES:
            raise ParameterError(f"sample came as {sample}; it must be at most {_MOST_SAMPLES}")
        self.step = start
        self.seconds = 0.0
        self._optimizer, self._every, self._sizes = optimizer, every, (elements, sample)
        self._names = {} if model is None else {id(p): name for name, p in model.named_parameters()}
        self._storage = storage_of(optimizer)
        self._shadow = Shadow(self._storage)
        self._subjects: dict[int, Subject] = {}
        self._pending: list[tuple[int, Subject, Before]] = []
        self._took_a_step = False
        self._measurements: deque[list[Row]] = deque(maxlen=keep)
        self._observations: dict[str, Observation] = {}
        targets = write if isinstance(write, list | tuple) else [] if write is None else [write]
        self._sinks = [sink_for(target, start) for target in targets]
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
            optimizer.register_load_state_dict_post_hook(lambda _: self._shadow.forget()),
        ]

    @property
    def history(self) -> list[Row]:
        """All rows of the last `keep` measurements, in order; per step parameters, groups, total."""
        return [row for rows in self._measurements for row in rows]

    def advice(self) -> list[str]:
        """Say in sentences what the last measurements mean and what would help.

        Returns
        -------
        list of str
            The rules are on the page about EDQ; one sentence if nothing is lost.
        """
        return advise(list(self._measurements), self._observations, self._every)

    def close(self) -> None:
        """Remove the hooks; what was measured stays."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the hooks

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:  # noqa: ANN401 - torch's
        """Look at gradients: now, or when the closure has made them."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._gather()
            return None
        observed = _followed_by(closure, self._gather)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": observed}
        return (args[0], observed, *args[2:]), kwargs

    def _gather(self) -> None:
        """Update the shadow; before a measured step keep what to compare with."""
        began = time.perf_counter()
        self._pending = []
        skipped = getattr(self._optimizer, "found_inf", None)
        self._took_a_step = skipped is None or not float(skipped)
        if self._took_a_step:
            with torch.no_grad():
                self._look()
        self.seconds += time.perf_counter() - began

    def _look(self) -> None:
        scale = getattr(self._optimizer, "grad_scale", None)
        unscale = 1.0 if scale is None else 1.0 / float(scale)
        active = list(self._active())
        if self._sizes[1]:
            averagings = [self._storage.averaging(group) for group in self._optimizer.param_groups]
            self._shadow.update(
                [
                    Observed(subject, averaging, unscale)
                    for number, subject in active
                    if (averaging := averagings[number]) is not None and _dense(subject.param.grad)
                ]
            )
        if (self.step + 1) % self._every == 0:
            groups = self._optimizer.param_groups
            self._pending = [
                (number, subject, self._kept(groups[number], subject, unscale)) for number, subject in active
            ]

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ANN401 - torch's
        """Count the step, and compare."""
        began = time.perf_counter()
        self.step += self._took_a_step
        self._took_a_step = False
        if self._pending:
            with torch.no_grad():
                rows = self._measured()
            self._pending = []
            self._measurements.append(rows)
            for sink in self._sinks:
                sink(self.step, rows)
        self.seconds += time.perf_counter() - began

    # ------------------------------------------------------------------ one measurement

    def _active(self) -> Iterator[tuple[int, Subject]]:
        """Go through the parameters that have a gradient, with the numbers of their groups."""
        for number, group in enumerate(self._optimizer.param_groups):
            for place, p in enumerate(group["params"]):
                if p.grad is not None and p.is_floating_point():
                    if id(p) not in self._subjects:
                        self._subjects[id(p)] = subject_of(self._name(number, place, p), p, *self._sizes)
                    yield number, self._subjects[id(p)]

    def _name(self, number: int, place: int, p: Tensor) -> str:
        names = self._optimizer.param_groups[number].get("param_names")
        return self._names.get(id(p)) or (names[place] if names else f"{number}.{place}")

    def _kept(self, group: Group, subject: Subject, unscale: float) -> Before:
        """Keep a parameter as it is, and the update that is to come."""
        visible, full, gradient = (
            subject.take(subject.param.detach()),
            self._storage.full(subject),
            subject.param.grad,
        )
        intended = None
        if gradient is not None and _dense(gradient):
            exact = subject.take(gradient).double() * unscale
            intended = self._storage.intended(group, subject, exact)
        return Before(
            visible.clone(),
            None if full is None else full.clone(),
            None if intended is None else intended.float(),
        )

    def _measured(self) -> list[Row]:
        """Compare everything that was kept, and sum up by parameter, group and in total."""
        subjects = [subject for _, subject, _ in self._pending]
        vectors = [self._sums(subject, before) for _, subject, before in self._pending]
        sums = [normalised(one) for one in reduced(subjects, vectors)]
        groups = self._optimizer.param_groups
        rows = []
        for (number, subject, _), own in zip(self._pending, sums, strict=True):
            rows.append(make_row(self.step, "parameter", subject.name, _rate(groups[number]), own))
            facts = self._storage.facts(subject)
            self._observations[subject.name] = Observation(
                facts, number, self._storage.averaging(groups[number])
            )
        for number in dict.fromkeys(number for number, _, _ in self._pending):
            own_sums = [own for (of, _, _), own in zip(self._pending, sums, strict=True) if of == number]
            name = str(groups[number].get("name", number))
            rows.append(make_row(self.step, "group", name, _rate(groups[number]), merge(own_sums)))
        return [*rows, make_row(self.step, "total", "total", math.nan, merge(sums))]

    def _sums(self, subject: Subject, before: Before) -> Tensor:
        visible = subject.take(subject.param.detach())
        sums = compared(before, visible, self._storage.full(subject))
        sums.update(self._storage.saturation(subject))
        shadow, stored = self._shadow.of(subject), self._storage.second(subject)
        if shadow is not None and stored is not None:
            sums.update(second_moment_sums(stored.reshape(-1).index_select(0, subject.sample), shadow))
        return vector(sums, subject.scale, visible.device)


def _check(least: int, **numbers: int | None) -> None:
    """Refuse numbers that are too small; None stands for all."""
    for name, value in numbers.items():
        if value is not None and value < least:
            raise ParameterError(f"{name} came as {value}; it must be at least {least}")


def _followed_by(closure: Callable[[], Any], look: Callable[[], None]) -> Callable[[], Any]:
    """Make a closure that looks at the gradients when it is called for the first time."""
    looked = False

    def observed() -> Any:  # noqa: ANN401 - whatever the closure returns
        nonlocal looked
        loss = closure()
        if not looked:
            looked = True
            look()
        return loss

    return observed


def _dense(gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.layout is torch.strided


def _rate(group: Group) -> float:
    return float(group["lr"]) if "lr" in group else math.nan
