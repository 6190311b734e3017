"""Checks and calls of the compiled inner epochs; same functions as mezzotint.kernels.reference.halp."""

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import _native
from mezzotint.kernels.epochs import EpochModel, EpochResult, EpochRows, EpochSchedule
from mezzotint.kernels.layout import Layout
from mezzotint.kernels.native_packed import layout_arguments
from mezzotint.kernels.reference.losses import number_of

__all__ = ["halp_epoch", "svrg_epoch"]


def halp_epoch(
    codes: NDArray[np.uint8],
    layout: Layout,
    rows: EpochRows,
    model: EpochModel,
    quantum: NDArray[np.float64],
    schedule: EpochSchedule,
    *,
    n_threads: int = 1,
) -> EpochResult:
    """See mezzotint.kernels.reference.halp.halp_epoch."""
    average = np.zeros(model.gradient.shape)
    doublings, finite = _native.halp_epoch(
        codes,
        layout_arguments(layout),
        *_rows(rows),
        *_columns(model),
        np.ascontiguousarray(quantum, np.float64),
        *_steps(schedule),
        schedule.seed,
        schedule.first_step & 0xFFFFFFFF,
        n_threads,
        average,
    )
    return EpochResult(average=average, doublings=doublings, finite=finite)


def svrg_epoch(
    x: NDArray[np.float32],
    scale: NDArray[np.float64],
    rows: EpochRows,
    model: EpochModel,
    schedule: EpochSchedule,
    *,
    n_threads: int = 1,
) -> EpochResult:
    """See mezzotint.kernels.reference.halp.svrg_epoch."""
    average = np.zeros(model.gradient.shape)
    doublings, finite = _native.svrg_epoch(
        x,
        np.ascontiguousarray(scale, np.float64),
        *_rows(rows),
        *_columns(model),
        *_steps(schedule),
        n_threads,
        average,
    )
    return EpochResult(average=average, doublings=doublings, finite=finite)


def _rows(rows: EpochRows) -> tuple[object, ...]:
    return number_of(rows.loss), rows.phi, rows.y, rows.weights


def _columns(model: EpochModel) -> tuple[NDArray[np.float64], ...]:
    arrays = model.shift, model.gradient, model.penalty, model.step
    return tuple(np.ascontiguousarray(a, np.float64) for a in arrays)


def _steps(schedule: EpochSchedule) -> tuple[object, ...]:
    order = np.ascontiguousarray(schedule.order, np.int64)
    return order, schedule.n_batches, schedule.tail, float(schedule.momentum), float(schedule.batch_weight)
