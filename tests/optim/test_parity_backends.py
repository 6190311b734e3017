"""Would catch: a backend whose stored bits differ from the eager ones.

Caught in the native one: ties of bfloat16 that go up, words of a shard that begin at a multiple of four, an
upper word of elements that is not carried, a scale that counts what lies behind a row, a reference that is
not the stored one, the root of this step instead of the last, NaN and remainders of infinity rounded like
numbers, small float16 cut as normal ones, contracted products, a forgotten maximize, overlapping segments.
And in the eager one: roots that are not correctly rounded.
"""

import contextlib
import itertools

import numpy as np
import pytest
import torch

from mezzotint import kernels
from mezzotint.optim import RECIPES, Recipe
from mezzotint.optim._eager import EagerBackend
from mezzotint.optim._native import NativeBackend
from mezzotint.optim.bits import Rounding
from mezzotint.optim.codecs import (
    Bfloat16,
    BlockCodes,
    Float16,
    LogCodes,
    Master,
    Pair,
    RatioCodes,
    Remainder,
)
from mezzotint.optim.rules import AdamRule, Hyper, LionRule, SGDRule
from mezzotint.optim.task import Task

# Backends that must give the eager bits, each with what has to be switched on around it.
BACKENDS = {
    f"native, {isa}": (NativeBackend(), lambda isa=isa: kernels.use(isa))
    for isa in kernels.available()
    if isa != "reference"
}
RULES = {
    "adam": AdamRule(),
    "lion": LionRule(),
    "sgd": SGDRule(),
    "momentum": SGDRule(has_momentum=True),
    "nesterov": SGDRule(has_momentum=True, nesterov=True),
}
DTYPES = (torch.bfloat16, torch.float32, torch.float16)
# Rows and columns: one element, a vector, a block and a bit, blocks exactly, odd rows, one long row.
SHAPES = ((1, 1), (67, 1), (3, 131), (4, 256), (5, 27), (1, 300))
LARGEST = float(np.finfo(np.float32).max)
NOT_FINITE = (
    0x7F800000,
    0x7FFFFFFF,
    0x7F800000 - 2**31,
)  # infinity; NaN whose bits overflow if rounded; -infinity
HALVES, PAIRS = Bfloat16(Rounding.DITHERED), Pair()


def coded(name, weight, first, second, alone):
    return Recipe(name, weight, first=first, second=second, alone=alone, carries=True)


# Compositions that no named recipe has: every codec in every role, every rounding.
OWN = (
    coded("float16", Float16(), PAIRS, Remainder(bits=16), Float16()),
    coded("master16", Master(torch.float16), HALVES, LogCodes(8, Rounding.NEAREST), PAIRS),
    coded("pairs", PAIRS, BlockCodes(4, Rounding.STOCHASTIC), LogCodes(4, Rounding.DITHERED), HALVES),
    coded("blocks", Remainder(bits=8), BlockCodes(8, Rounding.NEAREST), PAIRS, BlockCodes(4)),
    coded("ratios", PAIRS, RatioCodes(8, Rounding.NEAREST), HALVES, BlockCodes(8)),
    coded("ratio4", HALVES, RatioCodes(4, Rounding.STOCHASTIC), Master(), LogCodes(8)),
)
FLOAT32 = tuple(RECIPES[name].for_dtype(torch.float32) for name in ("bf16-sr", "collage-plus", "8bit"))
ALL = {recipe.name: recipe for recipe in (*RECIPES.values(), *OWN)}
ALL |= {f"{recipe.name} of float32": recipe for recipe in FLOAT32}


def zeros(codec, rows, length):
    return {c.suffix: torch.zeros(rows, c.columns(length), dtype=c.dtype) for c in codec.components}


class Run:
    """A parameter and its state under one backend."""

    def __init__(self, recipe, rule, values, around=contextlib.nullcontext, backend=None):
        self.recipe, self.rule, self.around = recipe, rule, around
        self.backend = backend or EagerBackend()
        nearest = {suffix: part.clone() for suffix, part in recipe.weight.encode(values, None).items()}
        self.weight = nearest
        self.moments = tuple(zeros(codec, *values.shape) for codec in recipe.codecs(len(rule.moments)))

    def task(self, gradient, step, **changed):
        options = {"maximize": False, "seed": 2**40 + 7, "number": 3, "first": 0} | changed
        own = {"rule": self.rule, "recipe": self.recipe, "weight": self.weight, "moments": self.moments}
        return Task(**own, numbers=hyper(self.rule, step), gradient=gradient, step=step, **options)

    def step(self, gradient, step, **changed):
        task = self.task(gradient, step, **changed)
        with self.around():
            assert self.backend.refusal(task) is None
            self.backend.run([task])

    def parts(self):
        """Components by name; codes of NaN are not defined, so where there is one, what they stand for."""
        names, length = ("weight", *self.rule.moments), self.weight[""].shape[1]
        codecs = (self.recipe.weight, *self.recipe.codecs(len(self.moments)))
        for name, codec, parts in zip(names, codecs, (self.weight, *self.moments), strict=True):
            undefined = isinstance(codec, LogCodes) and not parts["_scale"].isfinite().all()
            for suffix, tensor in parts.items():
                yield name + suffix, codec.decode(parts, length) if undefined else tensor


def hyper(rule, step):
    """Numbers of a step, none of them without effect."""
    numbers = {"rate": 0.01 / (1 - 0.9**step), "decay": 1e-3, "l2": 0.01, "keep1": 0.9, "add1": 0.1}
    numbers |= {"keep2": 0.99, "add2": 0.01, "carry": 0.05}
    if rule.name == "adam":
        before = 1.0 if step == 1 else (1 - 0.99 ** (step - 1)) ** -0.5
        numbers |= {"root": (1 - 0.99**step) ** -0.5, "root_before": before, "eps": 1e-8}
    return Hyper(**{name: float(np.float32(value)) for name, value in numbers.items()})


def gradients(rng, shape, dtype, n_steps=5):
    """Ordinary, tiny, huge and no gradients, with zeros among them."""
    for scale in (1.0, 1e-6, 1e4, 0.0, 1e-2)[:n_steps]:
        drawn = rng.standard_normal(shape) * scale * (rng.random(shape) < 0.8)
        yield torch.from_numpy(drawn.astype(np.float32)).to(dtype)


def numbers_of(tensor):
    """Bits of integers and floats; every NaN the same one."""
    if not tensor.is_floating_point():
        return tensor
    return torch.where(tensor.isnan(), torch.nan, tensor.to(torch.float32)).view(torch.int32)


def differing(left, right):
    """Names of the components whose bits differ."""
    pairs = zip(left.parts(), right.parts(), strict=True)
    return [name for (name, a), (_, b) in pairs if not torch.equal(numbers_of(a), numbers_of(b))]


def differences(recipe, rule, values, steps, **options):
    """What differs from the eager backend: backend, step, component."""
    eager = Run(recipe, rule, values)
    others = {
        name: Run(recipe, rule, values, around, backend) for name, (backend, around) in BACKENDS.items()
    }
    found = []
    for step, gradient in enumerate(steps, 1):
        eager.step(gradient, step, **options)
        for name, run in others.items():
            run.step(gradient, step, **options)
            found += [(name, step, part) for part in differing(eager, run)]
    return found


@pytest.fixture
def weights(rng):
    """Weights of a shape, some of them zero."""

    def make(shape, scale=1.0):
        drawn = scale * rng.standard_normal(shape) * (rng.random(shape) < 0.9)
        return torch.from_numpy(drawn.clip(-LARGEST, LARGEST).astype(np.float32))

    return make


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("recipe", ALL)
def test_every_recipe_and_rule_gives_the_eager_bits(recipe, rule, rng, weights):
    for shape, dtype in zip(SHAPES, itertools.cycle(DTYPES), strict=False):
        steps = list(gradients(rng, shape, dtype))
        assert differences(ALL[recipe], RULES[rule], weights(shape), steps) == [], (dtype, shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("recipe", ALL)
def test_every_dtype_of_gradients_gives_the_eager_bits_climbing_too(recipe, dtype, rng, weights):
    steps = list(gradients(rng, (2, 150), dtype, 3))
    assert differences(ALL[recipe], RULES["adam"], weights((2, 150)), steps, maximize=True) == []


# Elements that begin within four words drawn together, and where words of 32 bits overflow.
@pytest.mark.parametrize("first", [1, 129, 2**32 - 70, 2**34 - 6, 2**40 + 3])
@pytest.mark.parametrize("recipe", ["bf16-sr", "24bit", "8bit", "4bit-min"])
def test_a_later_shard_gives_the_eager_bits(recipe, first, rng, weights):
    steps = list(gradients(rng, (3, 99), torch.bfloat16, 2))
    assert differences(ALL[recipe], RULES["adam"], weights((3, 99)), steps, first=first) == []


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 3e38])
@pytest.mark.parametrize("recipe", ALL)
def test_weights_near_both_ends_of_the_range_give_the_eager_bits(recipe, scale, rng, weights):
    values = weights((2, 140), scale)
    steps = [scale / 1e3 * gradient for gradient in gradients(rng, (2, 140), torch.float32, 3)]
    for rule in ("adam", "momentum"):
        assert differences(ALL[recipe], RULES[rule], values, steps) == []


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("recipe", ALL)
def test_nan_and_infinite_gradients_spread_as_in_the_eager_backend(recipe, rule, rng, weights):
    shape = (3, 200)
    steps = list(gradients(rng, shape, torch.float32, 3))
    for gradient, bad in zip(steps, NOT_FINITE, strict=True):
        gradient.view(torch.int32)[rng.random(shape) < 0.01] = bad
    assert differences(ALL[recipe], RULES[rule], weights(shape), steps) == []


@pytest.mark.parametrize("recipe", ["bf16-sr", "collage-plus", "4bit-min"])
def test_the_number_of_threads_does_not_show(recipe, rng, weights):
    shape, before = (1500, 200), torch.get_num_threads()
    values, steps = weights(shape), list(gradients(rng, shape, torch.bfloat16, 2))
    runs = {n: Run(ALL[recipe], RULES["adam"], values, backend=NativeBackend()) for n in (1, 2, 3)}
    try:
        for n_threads, run in runs.items():
            torch.set_num_threads(n_threads)
            for step, gradient in enumerate(steps, 1):
                run.step(gradient, step)
    finally:
        torch.set_num_threads(before)
    assert differing(runs[1], runs[2]) == differing(runs[1], runs[3]) == []
    eager = Run(ALL[recipe], RULES["adam"], values)
    for step, gradient in enumerate(steps, 1):
        eager.step(gradient, step)
    assert differing(eager, runs[1]) == []
