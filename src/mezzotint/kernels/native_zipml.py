"""Checks and calls of the compiled descents; same functions as mezzotint.kernels.reference.zipml."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mezzotint.kernels import _native
from mezzotint.kernels.descent import DescentModel, DescentResult, DescentSchedule
from mezzotint.kernels.epochs import EpochRows
from mezzotint.kernels.layout import Layout
from mezzotint.kernels.native_packed import layout_arguments
from mezzotint.kernels.reference.losses import number_of
from mezzotint.kernels.reference.zipml import LIMITS

__all__ = ["sgd_epoch", "zipml_epoch"]

Float64 = NDArray[np.float64]


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
    """See ``reference.zipml.zipml_epoch``."""
    matrix = codes, layout_arguments(layout)
    return _run(_native.zipml_epoch, matrix, rows, model, schedule, start, n_threads)


def sgd_epoch(
    x: NDArray[np.float32],
    rows: EpochRows,
    model: DescentModel,
    schedule: DescentSchedule,
    start: Float64,
    *,
    n_threads: int = 1,
) -> DescentResult:
    """See ``reference.zipml.sgd_epoch``."""
    return _run(_native.sgd_epoch, (x,), rows, model, schedule, start, n_threads)


def _run(
    kernel: Any,  # noqa: ANN401
    matrix: tuple[Any, ...],
    rows: EpochRows,
    model: DescentModel,
    schedule: DescentSchedule,
    start: Float64,
    n_threads: int,
) -> DescentResult:
    coef = np.array(start, np.float64, order="C")
    average, losses = np.zeros_like(coef), np.zeros(len(schedule.order))
    finite = kernel(
        *matrix,
        (number_of(rows.loss), rows.phi, rows.y, rows.weights),
        _columns(model),
        _steps(schedule, n_threads),
        (coef, average, losses),
    )
    return DescentResult(coef=coef, average=average, losses=losses, finite=finite)


def _columns(model: DescentModel) -> tuple[Any, ...]:
    arrays = model.scale, model.centre, model.step, model.low, model.high
    columns = (np.ascontiguousarray(a, np.float64) for a in arrays)
    return (*columns, float(model.l2), float(model.l1), model.corrects)


def _steps(schedule: DescentSchedule, n_threads: int) -> tuple[Any, ...]:
    return (
        np.ascontiguousarray(schedule.order, np.int64),
        schedule.n_batches,
        schedule.tail,
        np.ascontiguousarray(schedule.rates, np.float64),
        float(schedule.batch_weight),
        LIMITS[schedule.model_bits],
        LIMITS[schedule.gradient_bits] if schedule.gradient_bits else 0.0,
        schedule.seed,
        schedule.first_step & 0xFFFFFFFF,
        n_threads,
    )
