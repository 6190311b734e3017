"""Would catch: optimizer steps that depend on threads or instruction sets.

Caught: buffers that threads share, scales of one instruction set that differ, jobs after the first left out.
Runs without torch, so that the sanitizers see it: NumPy arrays stand in for tensors.
"""

import numpy as np
import pytest

from mezzotint import kernels
from mezzotint.kernels import _native

THREADS = (1, 2, 3, 7)
BLOCK = 128
# Weight, first and second moment; every storage that NumPy has elements for.
STORAGES = [
    ("float32", "float32", "float32"),
    ("float16", "ratio8", "log8"),
    ("master_float16", "ratio4", "log4"),
    ("float32", "signed8", "float16"),
    ("float32", "signed4", "log8"),
]
DRAWS = ("nearest", "stochastic", "dithered")
HYPER = np.array([0.01, 1e-3, 0.01, 0.9, 0.1, 0.99, 0.01, 10, 7, 1e-8, 0.05], np.float32)


def columns(storage, length):
    """Columns and element type of each component."""
    if storage.startswith("float"):
        return [(length, storage)]
    if storage == "master_float16":
        return [(length, "float16"), (length, "float32")]
    codes = (length if storage.endswith("8") else -(-length // 2), "uint8")
    return [codes] if storage.startswith("ratio") else [codes, (-(-length // BLOCK), "float32")]


def stepped(storages, draw, shape, n_threads, n_steps=3):
    """All components after some steps."""
    rng, (rows, length) = np.random.default_rng(0), shape
    parts = [[np.zeros((rows, n), kind) for n, kind in columns(storage, length)] for storage in storages]
    for part in parts[0]:
        part[...] = rng.standard_normal(shape)
    slots = []
    for storage, own in zip(storages, parts, strict=True):
        slots.append(_native.OptimSlot(storage, draw, *(*own, None)[:2], 1.5, 1.5))
    for step in range(1, n_steps + 1):
        gradient = rng.standard_normal(shape).astype(np.float32)
        job = _native.OptimJob("adam", HYPER, False, True, *shape, 5, 3, step, 8, gradient, slots)
        _native.optim_step([job], n_threads)
    return b"".join(part.tobytes() for own in parts for part in own)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("storages", STORAGES)
def test_every_instruction_set_steps_to_the_same_bits(storages, draw):
    for shape in ((1, 1), (5, 1), (3, 131), (2, 256), (7, 33)):
        found = set()
        for name in kernels.available()[1:]:
            with kernels.use(name):
                found.add(stepped(storages, draw, shape, n_threads=1))
        assert len(found) == 1, shape


@pytest.mark.parametrize("storages", STORAGES)
def test_the_number_of_threads_does_not_show(storages):
    assert len({stepped(storages, "stochastic", (2000, 900), n_threads, 1) for n_threads in THREADS}) == 1


def test_several_parameters_step_in_one_call_as_alone():
    shape, made = (3, 200), []
    for together in (True, False):
        weights = [np.full(shape, value, np.float32) for value in (1, 2)]
        gradient = np.ones(shape, np.float32)
        jobs = [
            _native.OptimJob("sgd", HYPER, False, False, *shape, 0, 0, 1, 8 * i, gradient, [slot])
            for i, slot in enumerate(_native.OptimSlot("float32", "nearest", w, None, 0, 0) for w in weights)
        ]
        for batch in [jobs] if together else [[job] for job in jobs]:
            _native.optim_step(batch, 2)
        made.append(np.stack(weights))
    assert np.array_equal(*made)
    assert (made[0] < np.array([1, 2]).reshape(2, 1, 1)).all()
