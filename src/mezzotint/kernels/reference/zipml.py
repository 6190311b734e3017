"""Minibatch SGD from packed samples alone, with quantised model and gradient, in plain NumPy.

With ``a_ij = code_ij - mid`` a sample's value is ``centre_j + scale_j a_ij``; where there is a table of
levels, code_ij is what it has for the code. A step on a batch B is::

    V_j     = floor(scale_j w_j / q + u),  q = max_j |scale_j w_j| / limit         the model, in few bits
    psi_i   = b + centre . w + q (a_i . V)
    c_i     = s_i l'(psi_i), as kappa C_i with C_i = floor(c_i / kappa + u) per slab of 64 rows, 8 bits
    G_j     = sum_B kappa C_i a_ij,  G_0 = sum_B kappa C_i
    g_j     = batch_weight (scale_j G_j + centre_j G_0) + l2 w_j
    g_j    -= batch_weight scale_j^2 (sum_B gap_ij^2) w_j                           two draws, squared loss
    g_j     = delta floor(g_j / delta + u),  delta = max_j |g_j| / limit            if it has few bits
    w_j     = clip(shrink(w_j - rate step_j g_j, rate step_j l1), low_j, high_j)
    b      -= rate step_b batch_weight G_0

u is uniform, so every rounding is unbiased. Where codes are sums of two draws, a_i is their mean, and what
the mean's variance adds to the gradient of the squared loss is taken out again: E[g] is the gradient on the
float data (ZipML, arXiv:1611.05402, section 2; docs/double-sampling.md). The update is float64, and w is
never rounded.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.descent import DescentModel, DescentResult, DescentSchedule
from mezzotint.kernels.epochs import EpochRows
from mezzotint.kernels.layout import ROW_GROUP, Layout
from mezzotint.kernels.reference import losses
from mezzotint.kernels.reference.halp import _uniforms
from mezzotint.kernels.reference.packed import COLUMN_LANES, lane_sum
from mezzotint.kernels.reference.tiles import gaps_of, values_of
from mezzotint.random import Stream

__all__ = ["sgd_epoch", "zipml_epoch"]

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

COEFFICIENT_LIMIT = np.float32(127)
LIMITS = {4: 7.0, 8: 127.0, 16: 16256.0}  # 16 bits: 127 * 128, two signed bytes


def zipml_epoch(
    codes: NDArray[np.uint8],
    layout: Layout,
    rows: EpochRows,
    model: DescentModel,
    schedule: DescentSchedule,
    start: Float64,
    *,
    n_threads: int = 1,
) -> DescentResult:
    """Run all minibatch steps of some passes over packed rows.

    Parameters
    ----------
    codes : ndarray of uint8, shape (layout.n_bytes,)
    layout : Layout
    rows : EpochRows
        ``phi`` is added to the margins.
    model : DescentModel
    schedule : DescentSchedule
    start : ndarray of float64, shape (K, d + 1)
        First weights, the intercept last. Not changed.
    n_threads : int
        Not visible in the result.

    Returns
    -------
    DescentResult
    """
    return _run(_Codes(codes, layout, model), rows, model, schedule, start)


def sgd_epoch(
    x: NDArray[np.float32],
    rows: EpochRows,
    model: DescentModel,
    schedule: DescentSchedule,
    start: Float64,
    *,
    n_threads: int = 1,
) -> DescentResult:
    """Run the same steps on float32 rows, nothing rounded but to float32: the baseline.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
    rows, model, schedule, start, n_threads
        As in `zipml_epoch`; scales are 1, centres 0, and there is nothing to correct.

    Returns
    -------
    DescentResult
    """
    return _run(_Floats(x), rows, model, schedule, start)


class _Weights:
    """Weights of one output."""

    def __init__(self, start: Float64, padded: int) -> None:
        self.w = _padded(start[:-1], padded)
        self.b = float(start[-1])
        self.sums, self.b_sum = np.zeros(padded), 0.0
        self.base = 0.0
        self.integers: Integers = np.zeros(padded, np.int64)
        self.quantum = 0.0

    def coef(self, d: int) -> Float64:
        return np.append(self.w[:d], self.b)

    def average(self, d: int, count: int) -> Float64:
        return np.append(self.sums[:d], self.b_sum) / count

    def update(self, gradient: Float64, slope: float, rate: float, model: "_Columns") -> None:
        reach = rate * model.step
        moved = self.w - reach * gradient
        shrunk = np.maximum(np.abs(moved) - reach * model.l1, 0.0)
        self.w = np.minimum(np.maximum(np.copysign(shrunk, moved), model.low), model.high)
        self.b -= rate * model.step_b * slope

    def add_to_average(self) -> None:
        self.sums = self.sums + self.w
        self.b_sum += self.b


class _Columns:
    """The model's arrays, padded; padding columns stay at zero."""

    def __init__(self, model: DescentModel, padded: int) -> None:
        self.scale, self.centre, self.low, self.high = (
            _padded(a, padded) for a in (model.scale, model.centre, model.low, model.high)
        )
        self.step, self.step_b = _padded(model.step[:-1], padded), float(model.step[-1])
        self.l1, self.l2, self.corrects = model.l1, model.l2, model.corrects


class _Codes:
    """Packed rows: integer products."""

    def __init__(self, codes: NDArray[np.uint8], layout: Layout, model: DescentModel) -> None:
        self.padded = layout.padded_columns
        self._mid = layout.mid_code
        self._model = _Columns(model, self.padded)
        self._q, self._gaps = (
            np.pad(of(codes, layout, 0, layout.n_rows), ((0, 0), (0, self.padded - layout.n_columns))).astype(
                np.int64
            )
            for of in (values_of, gaps_of)
        )

    def settle(self, o: _Weights, schedule: DescentSchedule, step: int, k: int) -> None:
        """Round the model for the next step."""
        values, limit = self._model.scale * o.w, LIMITS[schedule.model_bits]
        u = _uniforms(self.padded, schedule.seed, schedule.first_step + step, Stream.ZIPML_MODEL + k)
        o.integers, o.quantum = _round(values, limit, u)
        o.base = o.b + lane_sum(self._model.centre * o.w, COLUMN_LANES)

    def margins(self, index: Integers, o: _Weights) -> Float64:
        sums = (self._q[index] @ o.integers - self._mid * o.integers.sum()).astype(np.float64)
        return np.asarray(o.base + o.quantum * sums)

    def gradient(
        self,
        slabs: list[Integers],
        c: list[Float64],
        o: _Weights,
        schedule: DescentSchedule,
        step: int,
        k: int,
    ) -> tuple[Float64, float]:
        """Gradient in the weights, without the penalty, and in the intercept."""
        total, total_c, model = np.zeros(self.padded), 0.0, self._model
        for h, (index, c_slab) in enumerate(zip(slabs, c, strict=True)):
            stream = Stream.ZIPML_COEFFICIENTS + h * len(c_slab) + k
            kappa, integers = _round_coefficients(c_slab[k], index, schedule, step, stream)
            sums = integers @ self._q[index] - self._mid * integers.sum()
            total = total + float(kappa) * sums.astype(np.float64)
            total_c += float(kappa) * float(integers.sum())
        gradient = schedule.batch_weight * (model.scale * total + model.centre * total_c)
        if model.corrects:
            squares = (self._gaps[np.concatenate(slabs)] ** 2).sum(axis=0).astype(np.float64)
            gradient = gradient - schedule.batch_weight * ((model.scale * model.scale) * (squares * o.w))
        return gradient, schedule.batch_weight * total_c


class _Floats:
    """Float32 rows, nothing in few bits."""

    def __init__(self, x: NDArray[np.float32]) -> None:
        self.padded = -(-x.shape[1] // 16) * 16
        self._x = np.pad(x, ((0, 0), (0, self.padded - x.shape[1])))

    def settle(self, o: _Weights, schedule: DescentSchedule, step: int, k: int) -> None:
        o.base = o.b

    def margins(self, index: Integers, o: _Weights) -> Float64:
        return np.asarray(o.base + (self._x[index] @ o.w.astype(np.float32)).astype(np.float64))

    def gradient(
        self,
        slabs: list[Integers],
        c: list[Float64],
        o: _Weights,
        schedule: DescentSchedule,
        step: int,
        k: int,
    ) -> tuple[Float64, float]:
        total, total_c = np.zeros(self.padded), 0.0
        for index, c_slab in zip(slabs, c, strict=True):
            narrow = c_slab[k].astype(np.float32)
            total = total + (narrow @ self._x[index]).astype(np.float64)
            total_c += float(narrow.sum(dtype=np.float64))
        return schedule.batch_weight * total, schedule.batch_weight * total_c


def _run(
    data: Any,  # noqa: ANN401 - _Codes or _Floats
    rows: EpochRows,
    model: DescentModel,
    schedule: DescentSchedule,
    start: Float64,
) -> DescentResult:
    outputs = [_Weights(row, data.padded) for row in start]
    columns = _Columns(model, data.padded)
    losses_met, finite = np.zeros(len(schedule.order)), True
    with np.errstate(all="ignore"):  # of a descent that diverges
        for step in range(schedule.n_steps):
            for k, o in enumerate(outputs):
                data.settle(o, schedule, step, k)
            finite = all(np.isfinite(o.base) and np.isfinite(o.quantum) for o in outputs)
            if not finite:
                break
            losses_met[step // schedule.n_batches] += _step(data, rows, columns, schedule, outputs, step)
    d = len(model.scale)
    return DescentResult(
        coef=np.array([o.coef(d) for o in outputs]),
        average=np.array([o.average(d, schedule.tail) for o in outputs]),
        losses=losses_met,
        finite=finite and all(np.isfinite(o.w).all() for o in outputs),
    )


def _step(
    data: Any,  # noqa: ANN401
    rows: EpochRows,
    columns: _Columns,
    schedule: DescentSchedule,
    outputs: list[_Weights],
    step: int,
) -> float:
    """Move all outputs; returns the losses that the step met."""
    slabs = schedule.rows_of(step, rows.phi.shape[1])
    met = [_slopes(data, rows, index, outputs) for index in slabs]
    rate = float(schedule.rates[step // schedule.n_batches])
    for k, o in enumerate(outputs):
        gradient, slope = data.gradient(slabs, [c for c, _ in met], o, schedule, step, k)
        gradient = _few_bits(gradient + columns.l2 * o.w, schedule, step, k)
        o.update(gradient, slope, rate, columns)
        if step >= schedule.n_steps - schedule.tail:
            o.add_to_average()
    return sum(loss for _, loss in met)


def _slopes(
    data: Any,  # noqa: ANN401
    rows: EpochRows,
    index: Integers,
    outputs: list[_Weights],
) -> tuple[Float64, float]:
    """Return s l' of some rows, shape (K, rows), and the sum of their losses."""
    psi = np.array([data.margins(index, o) for o in outputs]).astype(np.float32).astype(np.float64)
    margins, y = rows.phi[:, index] + psi, rows.y[:, index]
    s = np.ones(len(index)) if rows.weights is None else rows.weights[index]
    met = float((s * losses.values(rows.loss, margins, y)).sum())
    return s * losses.slopes(rows.loss, margins, y), met


def _round(values: Float64, limit: float, u: NDArray[np.float32]) -> tuple[Integers, float]:
    """Round stochastically to multiples of a quantum that takes the largest value to the limit."""
    largest = float(np.abs(values).max(initial=0.0))
    inverse = limit / largest if largest > 0 else 0.0
    integers = np.floor(values * inverse + u.astype(np.float64))
    return np.clip(integers, -limit, limit).astype(np.int64), largest / limit


def _few_bits(gradient: Float64, schedule: DescentSchedule, step: int, k: int) -> Float64:
    if schedule.gradient_bits == 0:
        return gradient
    u = _uniforms(len(gradient), schedule.seed, schedule.first_step + step, Stream.ZIPML_GRADIENT + k)
    integers, quantum = _round(gradient, LIMITS[schedule.gradient_bits], u)
    return quantum * integers.astype(np.float64)


def _round_coefficients(
    c: Float64, index: Integers, schedule: DescentSchedule, step: int, stream: int
) -> tuple[np.float32, Integers]:
    """Row coefficients of a slab in 8 bits, stochastically rounded."""
    narrow = c.astype(np.float32)
    largest = np.max(np.abs(narrow), initial=np.float32(0))
    inverse = COEFFICIENT_LIMIT / largest if largest > 0 else np.float32(0)
    u = _uniforms(64, schedule.seed, schedule.first_step + step, stream)[_places(index)]
    integers = np.floor(narrow * inverse + u)
    limit = COEFFICIENT_LIMIT
    return largest / limit, np.clip(integers, -limit, limit).astype(np.int64)


def _places(index: Integers) -> Integers:
    """Places of rows in their slab: 16 for every tile, whether or not it is full."""
    tiles = index // ROW_GROUP
    new_tile = np.diff(tiles, prepend=tiles[:1]) != 0
    places: Integers = ROW_GROUP * np.cumsum(new_tile) + index % ROW_GROUP
    return places


def _padded(values: Float64, padded: int) -> Float64:
    return np.append(values, np.zeros(padded - len(values)))
