"""Which backend runs which parameter: chosen openly, never changed after an error."""

from __future__ import annotations

from collections import Counter

from mezzotint.errors import KernelUnavailableError, ParameterError
from mezzotint.optim._eager import EagerBackend
from mezzotint.optim._native import NativeBackend
from mezzotint.optim._triton import TritonBackend
from mezzotint.optim.task import Backend, Task

__all__ = ["Dispatch"]


def _known() -> dict[str, Backend]:
    """Give all backends, the fastest first."""
    backends: tuple[Backend, ...] = (NativeBackend(), TritonBackend(), EagerBackend())
    return {backend.name: backend for backend in backends}


class Dispatch:
    """Hands each task to a backend.

    Parameters
    ----------
    backend : str
        A name, or "auto" for the fastest backend that can run a task.

    Raises
    ------
    ParameterError
        If there is no such backend.

    Attributes
    ----------
    last : Counter of str
        How many parameters each backend ran in the last step.
    """

    def __init__(self, backend: str) -> None:
        self._asked = backend
        self._backends = _known()
        if backend != "auto":
            if backend not in self._backends:
                raise ParameterError(
                    f"backend came as {backend!r}; allowed are 'auto', {', '.join(map(repr, self._backends))}"
                )
            self._backends = {backend: self._backends[backend]}
        self.last: Counter[str] = Counter()

    def __reduce__(self) -> tuple[type[Dispatch], tuple[str]]:
        return Dispatch, (self._asked,)

    def run(self, tasks: list[Task]) -> None:
        """Run tasks, each backend all of its own at once.

        Parameters
        ----------
        tasks : list of Task
            One per parameter.

        Raises
        ------
        KernelUnavailableError
            If the chosen backend cannot run one of them; nothing has been changed then.
        """
        chosen: dict[str, list[Task]] = {}
        for task in tasks:
            chosen.setdefault(self._choose(task), []).append(task)
        for name, own in chosen.items():
            self._backends[name].run(own)
        self.last = Counter({name: len(own) for name, own in chosen.items()})

    def _choose(self, task: Task) -> str:
        """Name the first backend that does not refuse."""
        refusals = []
        for name, backend in self._backends.items():
            refusal = backend.refusal(task)
            if refusal is None:
                return name
            refusals.append(f"{name}: {refusal}")
        raise KernelUnavailableError(
            f"no backend runs this parameter ({'; '.join(refusals)}); use backend='auto'"
        )
