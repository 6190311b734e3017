"""What a run of the tour's second half is, and what it gives back; for processes without torch."""

import math
from dataclasses import dataclass

_FINAL = 0.1  # last rate over the highest


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of the model and of a run.

    Attributes
    ----------
    width, layers, heads, length : int
        Of the transformer; `length` characters are read at once.
    steps, rows : int
        Steps, and windows in a batch.
    rate : float
        Highest learning rate; a tenth of the steps leads there, a cosine down to a tenth of it.
    beta2 : float
        Of AdamW.
    looks : int
        How often validation loss and EDQ are measured.
    windows : int
        How many windows of the held-out text the validation loss is the mean of.
    """

    width: int = 96
    layers: int = 3
    heads: int = 4
    length: int = 64
    steps: int = 500
    rows: int = 8
    rate: float = 1e-3
    beta2: float = 0.999
    looks: int = 10
    windows: int = 256

    def rate_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ..."""
        cosine = _FINAL + (1 - _FINAL) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.rate * min((step + 1) / (0.1 * self.steps), cosine)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one recipe reached.

    Attributes
    ----------
    recipe : str
        Which.
    curve : list of (int, float)
        Steps and validation losses in nats per character; the last one is the result.
    edq : list of (int, float)
        Steps and EDQ ratios of all that is stored of the weights.
    lost : float
        Share of the updates after which all that is stored of a weight is what it was, on average.
    bytes_per_parameter : float
        Visible weights and states, as stored.
    n_parameters : int
        Of the model.
    """

    recipe: str
    curve: list[tuple[int, float]]
    edq: list[tuple[int, float]]
    lost: float
    bytes_per_parameter: float
    n_parameters: int

    @property
    def loss(self) -> float:
        """The last validation loss."""
        return self.curve[-1][1]

    @property
    def edq_ratio(self) -> float:
        """EDQ ratio on average over the run."""
        return sum(ratio for _, ratio in self.edq) / len(self.edq)
