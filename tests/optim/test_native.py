"""Would catch: a tensor that the native backend leaves behind, or reads and writes beyond its end.

Caught: half bytes behind a row that are not cleared, rows of half bytes taken for one, a size that is not
checked, versions that stay, copies that are not copied back, kernels run although the reference is chosen,
a step that is counted although it was refused.
"""

import dataclasses

import numpy as np
import pytest
import torch

from mezzotint import kernels
from mezzotint.errors import KernelUnavailableError
from mezzotint.kernels import _native
from mezzotint.optim import SGD, AdamW, Recipe
from mezzotint.optim._native import NativeBackend
from mezzotint.optim.codecs import Bfloat16, Float32, LogCodes, RatioCodes
from mezzotint.optim.rules import AdamRule, Hyper, LionRule
from mezzotint.optim.task import Task


def stepped(make, backend, n_steps=3, recipe="4bit-min", optimizer=AdamW):
    """A parameter after some steps on equal gradients."""
    generator = torch.Generator().manual_seed(0)
    param = make(generator)
    opt = optimizer([param], lr=0.01, recipe=recipe, backend=backend, spare=lambda p: False)
    for _ in range(n_steps):
        param.grad = make(generator).detach()
        opt.step()
    assert opt.backends() == {backend: 1}
    return param.detach(), opt


def drawn(shape, dtype=torch.bfloat16):
    return lambda generator: torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype))


def turned(generator):
    """Neither the parameter nor its gradient is contiguous."""
    return torch.nn.Parameter(torch.randn(30, 40, generator=generator).to(torch.bfloat16).t())


@pytest.mark.parametrize("make", [drawn(()), drawn(7), drawn((4, 3, 2)), drawn((3, 257)), turned])
@pytest.mark.parametrize("recipe", ["4bit-min", "collage-plus"])
def test_parameters_of_any_shape_get_the_eager_bits(make, recipe):
    ours, theirs = (stepped(make, backend, recipe=recipe) for backend in ("native", "eager"))
    assert torch.equal(ours[0], theirs[0])
    state, expected = (opt.state_dict()["state"][0] for _, opt in (ours, theirs))
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_an_empty_parameter_is_left_alone():
    empty, full = (torch.nn.Parameter(torch.ones(shape)) for shape in ((0, 3), (2, 3)))
    opt = AdamW([empty, full], backend="native")
    empty.grad, full.grad = torch.ones(0, 3), torch.ones(2, 3)
    opt.step()
    assert opt.backends() == {"native": 1}


def test_autograd_sees_that_a_saved_weight_has_changed():
    param = torch.nn.Parameter(torch.ones(3))
    opt = SGD([param], lr=0.1, backend="native")
    loss = (param * param).sum()
    param.grad = torch.ones(3)
    opt.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_auto_is_native_and_says_so():
    param = torch.nn.Parameter(torch.ones(3, 5))
    param.grad = torch.ones(3, 5)
    opt = AdamW([param])
    opt.step()
    assert opt.backends() == {"native": 1}


def test_without_compiled_kernels_auto_is_eager_and_native_an_error():
    param = torch.nn.Parameter(torch.ones(3, 5))
    param.grad = torch.ones(3, 5)
    with kernels.use("reference"):
        opt = AdamW([param])
        opt.step()
        assert opt.backends() == {"eager": 1}
        opt = AdamW([param], backend="native")
        with pytest.raises(KernelUnavailableError, match="reference"):
            opt.step()
        assert opt.state[param]["step"] == 0


@dataclasses.dataclass(frozen=True)
class OwnCodec(Float32):
    """A codec that no kernel knows."""


@dataclasses.dataclass(frozen=True)
class OwnRule(LionRule):
    """A rule that no kernel knows."""


def task(**changed):
    """A task of Adam in float32 that every backend runs."""
    options = {
        "rule": AdamRule(),
        "recipe": Recipe("plain", Float32()),
        "numbers": Hyper(0.1),
        "weight": {"": torch.ones(2, 3)},
        "moments": ({"": torch.zeros(2, 3)}, {"": torch.zeros(2, 3)}),
        "gradient": torch.ones(2, 3),
        "maximize": False,
        "seed": 0,
        "step": 1,
        "number": 0,
        "first": 0,
    }
    return Task(**(options | changed))


REFUSED = {
    "bf16": {"bf16": True},
    "OwnRule": {"rule": OwnRule()},
    "OwnCodec": {"recipe": Recipe("own", OwnCodec())},
    "second moment": {"recipe": Recipe("own", Float32(), second=RatioCodes())},
    "float64": {"gradient": torch.ones(2, 3, dtype=torch.float64)},
    "CPU": {"gradient": torch.ones(2, 3, device="meta")},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_the_kernels_cannot_do_is_refused_by_name(reason):
    backend = NativeBackend()
    assert backend.refusal(task()) is None
    assert reason in backend.refusal(task(**REFUSED[reason]))


def slot(storage, *parts):
    return _native.OptimSlot(storage, "nearest", parts[0], parts[1] if parts[1:] else None, 0, 0)


def job(rule="adam", shape=(2, 3), gradient=None, hyper=11, slots=("float32",) * 3):
    made = [slot(one, torch.zeros(2, 3)) if isinstance(one, str) else one for one in slots]
    numbers, g = np.zeros(hyper, np.float32), torch.zeros(2, 3) if gradient is None else gradient
    return _native.OptimJob(rule, numbers, False, False, *shape, 0, 0, 1, 0, g, made)


WRONG = {
    "rule": lambda: job(rule="newton"),
    "storage": lambda: slot("float8", torch.zeros(2, 3)),
    "shape": lambda: job(shape=(-1, 3)),
    "size of a component": lambda: job(shape=(2, 4)),
    "element type of the gradient": lambda: job(gradient=torch.zeros(2, 3, dtype=torch.int32)),
    "number of hyper-parameters": lambda: job(hyper=10),
    "number of tensors": lambda: job(slots=("float32",) * 2),
    "number of components": lambda: slot("pair", torch.zeros(2, 3, dtype=torch.bfloat16)),
    "element type of a component": lambda: slot("bfloat16", torch.zeros(2, 3, dtype=torch.float16)),
    "limit or curve of the levels": lambda: slot("ratio8", torch.zeros(2, 3, dtype=torch.uint8)),
    "n_threads": lambda: _native.optim_step([job()], 0),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_native_module_refuses_what_would_not_fit(what):
    _native.optim_step([job()], 1)
    with pytest.raises(ValueError, match=what):
        WRONG[what]()


def test_the_native_module_takes_no_copies_in_place_of_tensors():
    with pytest.raises(TypeError):
        slot("float32", torch.zeros(3, 2).t())


def test_rows_are_kept_apart_where_a_block_or_a_byte_ends_with_them():
    gradient = torch.ones(1, 5, dtype=torch.bfloat16)
    recipe = Recipe("own", Bfloat16(), alone=LogCodes(4))
    weight = {"": torch.ones(3, 5, dtype=torch.bfloat16)}
    moment = {"": torch.zeros(3, 3, dtype=torch.uint8), "_scale": torch.zeros(3, 1)}
    whole = task(
        rule=LionRule(),
        recipe=recipe,
        numbers=Hyper(0.1, add2=1.0),
        weight=weight,
        moments=(moment,),
        gradient=gradient * torch.tensor([[1.0], [2.0], [4.0]]).to(torch.bfloat16),
    )
    NativeBackend().run([whole])
    assert moment["_scale"].tolist() == [[1.0], [2.0], [4.0]]
    assert (moment[""][:, 2] < 16).all()
