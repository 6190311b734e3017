"""An inner epoch of HALP: SVRG on an integer offset around an exact centre, in plain NumPy.

With centred columns ``a_ij = code_ij - mid - shift_j`` the margin of a row at offset (z, t) is
``phi_i + t + quantum (a_i . z)``, z being integers in [-127, 127]: the weights move by ``quantum z_j`` in
units of one code. A step on a batch B is::

    c_i     = s_i (l'(phi_i + psi_i) - l'(phi_i)),  rounded to 8 bits per slab of 64 rows
    v       = batch_weight sum_B c_i a_i + gradient + penalty quantum z
    m       = momentum m + v
    z       = floor(z - (step / quantum) m + u),    u uniform: stochastic rounding
    t       = t - step_t m_t                        (not rounded)

If an entry of z leaves [-127, 127] the quantum doubles, the target is halved and rounded again: the grid's
range is found by the epoch itself. The result is the average over the last steps.

All operations on columns are float32, one at a time; t, the quantum and sums over the columns are float64.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels.epochs import EpochModel, EpochResult, EpochRows, EpochSchedule
from mezzotint.kernels.layout import Layout
from mezzotint.kernels.reference.floats import curvature_rows
from mezzotint.kernels.reference.losses import PIECEWISE
from mezzotint.kernels.reference.packed import COLUMN_LANES, lane_sum
from mezzotint.kernels.reference.tiles import values_of
from mezzotint.random import Stream, random_bits

__all__ = ["halp_epoch", "svrg_epoch"]

F32 = NDArray[np.float32]
SlopeChanges = Callable[..., None]

OFFSET_LIMIT = np.float32(127)
COEFFICIENT_LIMIT = np.float32(127)
MOST_DOUBLINGS = 400
_BITS_COLUMNS = 128  # columns served by 16 blocks of random bits


def halp_epoch(
    codes: NDArray[np.uint8],
    layout: Layout,
    rows: EpochRows,
    model: EpochModel,
    quantum: NDArray[np.float64],
    schedule: EpochSchedule,
    *,
    n_threads: int = 1,
    slope_changes: SlopeChanges = curvature_rows,
) -> EpochResult:
    """Run all minibatch steps around one centre on packed rows.

    Parameters
    ----------
    codes : ndarray of uint8, shape (layout.n_bytes,)
    layout : Layout
    rows : EpochRows
    model : EpochModel
        In units of one code.
    quantum : ndarray of float64, shape (K,)
        First distance between grid points of each output's offset; it doubles on saturation.
    schedule : EpochSchedule
    n_threads : int
        Ignored here.
    slope_changes : callable
        What computes c; parity tests pass the compiled one, whose exp is rounded differently.

    Returns
    -------
    EpochResult
    """
    data = _Codes(codes, layout)
    outputs = [_Output(model, k, data.padded, float(q)) for k, q in enumerate(quantum)]
    return _run(data, rows, model, schedule, outputs, slope_changes)


def svrg_epoch(
    x: F32,
    scale: NDArray[np.float64],
    rows: EpochRows,
    model: EpochModel,
    schedule: EpochSchedule,
    *,
    n_threads: int = 1,
    slope_changes: SlopeChanges = curvature_rows,
) -> EpochResult:
    """Run the same steps on float32 rows with a float32 offset: plain SVRG, the baseline.

    Parameters
    ----------
    x : ndarray of float32, shape (n, d)
    scale : ndarray of float64, shape (d,)
        Unit of each column; the offset is in these units, as in `halp_epoch`. 0 leaves a column out.
    rows, model, schedule, n_threads, slope_changes
        As in `halp_epoch`; `model.shift` is in units of `scale`.

    Returns
    -------
    EpochResult
    """
    data = _Floats(x, scale)
    outputs = [_Output(model, k, data.padded, 1.0) for k in range(len(rows.phi))]
    return _run(data, rows, model, schedule, outputs, slope_changes)


class _Output:
    """Offset of one output."""

    def __init__(self, model: EpochModel, k: int, padded: int, quantum: float) -> None:
        self.quantum = quantum
        self.gradient, self.penalty, self.step, self.shift = (
            _padded(a, padded) for a in (model.gradient[k, :-1], model.penalty, model.step[:-1], model.shift)
        )
        self.shift_exact = np.append(model.shift, np.zeros(padded - len(model.shift)))
        self.slope = float(model.gradient[k, -1])
        self.offset: F32 = np.zeros(padded, np.float32)
        self.velocity: F32 = np.zeros(padded, np.float32)
        self.target: F32 = np.zeros(padded, np.float32)
        self.sums: F32 = np.zeros(padded, np.float32)
        self.shifted = self.constant = self.constant_velocity = self.constant_sum = 0.0

    def descend(self, total: F32, total_c: float, momentum: float) -> None:
        """Set the target of a step."""
        quantum = np.float32(self.quantum)
        data = total - self.shift * np.float32(total_c)
        centre = self.gradient + self.penalty * (quantum * self.offset)
        velocity = np.asarray(np.float32(momentum) * self.velocity + (data + centre), np.float32)
        self.velocity = velocity
        self.target = self.offset - (self.step * (np.float32(1) / quantum)) * velocity

    def descend_constant(self, total_c: float, momentum: float, step: float) -> None:
        """Move the constant."""
        self.constant_velocity = momentum * self.constant_velocity + (total_c + self.slope)
        self.constant -= step * self.constant_velocity

    def round(self, bits: F32) -> int:
        """Round the target onto the grid, doubling the grid while it is too small."""
        doublings = 0
        self.offset = np.floor(self.target + bits)
        while not (np.abs(self.offset) <= OFFSET_LIMIT).all() and doublings < MOST_DOUBLINGS:
            self.target *= np.float32(0.5)
            self.sums *= np.float32(0.5)
            self.quantum *= 2.0
            doublings += 1
            self.offset = np.floor(self.target + bits)
        return doublings

    def settle(self) -> None:
        """Sum what the margins of the next step need."""
        self.shifted = lane_sum(self.shift_exact * self.offset.astype(np.float64), COLUMN_LANES)

    @property
    def finite(self) -> bool:
        """Whether the steps stayed finite."""
        return bool(np.isfinite(np.array([self.shifted, self.constant, self.quantum], np.float32)).all())


class _Codes:
    """Packed rows: integer products, and a grid."""

    def __init__(self, codes: NDArray[np.uint8], layout: Layout) -> None:
        self.padded = layout.padded_columns
        self._mid = layout.mid_code
        q = values_of(codes, layout, 0, layout.n_rows).astype(np.int64)
        self._q = np.pad(q, ((0, 0), (0, self.padded - layout.n_columns)))

    def margins(self, index: NDArray[np.int64], o: _Output) -> NDArray[np.float64]:
        z = o.offset.astype(np.int64)
        sums = (self._q[index] @ z - self._mid * z.sum()).astype(np.float64)
        return np.asarray(o.constant + o.quantum * (sums - o.shifted))

    def products(
        self, slabs: list[NDArray[np.int64]], c: list[F32], batch_weight: float
    ) -> tuple[F32, float]:
        """Sum of c_i times the codes, counted from the middle code, and the sum of c_i."""
        total, total_c = np.zeros(self.padded, np.float32), 0.0
        for index, c_slab in zip(slabs, c, strict=True):
            scale, integers = _quantise(c_slab)
            scale = scale * np.float32(batch_weight)
            sums = integers @ self._q[index] - self._mid * integers.sum()
            total = total + scale * sums.astype(np.float32)
            total_c += float(scale) * float(integers.sum())
        return total, total_c

    def settle(self, o: _Output, seed: int, step: int, stream: int) -> int:
        doublings = o.round(_uniforms(self.padded, seed, step, stream))
        o.settle()
        return doublings


class _Floats:
    """Float32 rows, no grid."""

    def __init__(self, x: F32, scale: NDArray[np.float64]) -> None:
        self.padded = -(-x.shape[1] // 16) * 16
        self._x = np.pad(x, ((0, 0), (0, self.padded - x.shape[1])))
        self._factor = _padded(np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0), self.padded)

    def margins(self, index: NDArray[np.int64], o: _Output) -> NDArray[np.float64]:
        return np.asarray(o.constant + ((self._x[index] @ (o.offset * self._factor)) - o.shifted))

    def products(
        self, slabs: list[NDArray[np.int64]], c: list[F32], batch_weight: float
    ) -> tuple[F32, float]:
        total, total_c = np.zeros(self.padded, np.float32), 0.0
        for index, c_slab in zip(slabs, c, strict=True):
            scaled = c_slab * np.float32(batch_weight)
            total = total + scaled @ self._x[index]
            total_c += float(scaled.sum(dtype=np.float64))
        return self._factor * total, total_c

    def settle(self, o: _Output, seed: int, step: int, stream: int) -> int:
        o.offset = o.target
        o.settle()
        return 0


def _run(
    data: Any,  # noqa: ANN401 - _Codes or _Floats
    rows: EpochRows,
    model: EpochModel,
    schedule: EpochSchedule,
    outputs: list[_Output],
    slope_changes: SlopeChanges,
) -> EpochResult:
    doublings, finite = 0, True
    for step in range(schedule.n_steps):
        slabs = schedule.rows_of(step, rows.phi.shape[1])
        changes = [_slope_changes(data, rows, index, outputs, slope_changes) for index in slabs]
        for k, o in enumerate(outputs):
            total, total_c = data.products(slabs, [c[k] for c in changes], schedule.batch_weight)
            o.descend(total, total_c, schedule.momentum)
            doublings += data.settle(o, schedule.seed, schedule.first_step + step, Stream.HALP_ROUNDING + k)
            o.descend_constant(total_c, schedule.momentum, float(model.step[-1]))
            if step >= schedule.n_steps - schedule.tail:
                o.sums = o.sums + o.offset
                o.constant_sum += o.constant
        finite = all(o.finite for o in outputs)
        if not finite:
            break
    d = len(model.shift)
    sums = [np.append(o.sums[:d].astype(np.float64) * o.quantum, o.constant_sum) for o in outputs]
    return EpochResult(average=np.array(sums) / schedule.tail, doublings=doublings, finite=finite)


def _slope_changes(
    data: Any,  # noqa: ANN401
    rows: EpochRows,
    index: NDArray[np.int64],
    outputs: list[_Output],
    slope_changes: SlopeChanges,
) -> F32:
    """C of some rows, shape (K, rows)."""
    psi = np.array([data.margins(index, o) for o in outputs], dtype=np.float32)
    c = np.empty_like(psi)
    second = np.empty_like(psi if rows.loss == "softmax" or rows.loss in PIECEWISE else psi[:1])
    weights = None if rows.weights is None else np.ascontiguousarray(rows.weights[index])
    phi, y = np.ascontiguousarray(rows.phi[:, index]), np.ascontiguousarray(rows.y[:, index])
    slope_changes(rows.loss, phi, psi, y, weights, c=c, second=second)
    return c


def _quantise(c: F32) -> tuple[np.float32, NDArray[np.int64]]:
    largest = np.max(np.abs(c), initial=np.float32(0))
    inverse = COEFFICIENT_LIMIT / largest if largest > 0 else np.float32(0)
    return largest / COEFFICIENT_LIMIT, np.rint(c * inverse).astype(np.int64)


def _uniforms(count: int, seed: int, step: int, stream: int) -> F32:
    """Multiples of 2**-16 plus 2**-17, one per column: half a word each, in the order of vector registers."""
    groups = -(-count // _BITS_COLUMNS)
    words = random_bits(seed, 0, 64 * groups, step=step, stream=stream).reshape(groups, 16, 4)
    halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=3)
    u = halves.transpose(0, 2, 3, 1).reshape(-1)[:count].astype(np.float32)
    return (u + np.float32(0.5)) * np.float32(2.0**-16)


def _padded(values: NDArray[np.float64], padded: int) -> F32:
    return np.append(values, np.zeros(padded - len(values))).astype(np.float32)
