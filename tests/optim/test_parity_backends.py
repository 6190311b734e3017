"""Would catch: a backend whose stored bits differ from the eager ones. TODO."""

import itertools

import numpy as np
import pytest
import torch

from mezzotint import kernels
from mezzotint.optim import RECIPES, AdamW, Recipe
from mezzotint.optim._eager import EagerBackend
from mezzotint.optim._native import NativeBackend
from mezzotint.optim.bits import Rounding
from mezzotint.optim.codecs import Bfloat16, BlockCodes, Float16, LogCodes, Master, Pair, RatioCodes, Remainder
from mezzotint.optim.rules import AdamRule, Hyper, LionRule, SGDRule
from mezzotint.optim.task import Task

SETS = [name for name in kernels.available() if name != "reference"]
RULES = {
    "adam": AdamRule(),
    "lion": LionRule(),
    "sgd": SGDRule(),
    "momentum": SGDRule(has_momentum=True),
    "nesterov": SGDRule(has_momentum=True, nesterov=True),
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Rows and columns: one element, a vector, one row, a block and a bit, blocks exactly, odd rows.
SHAPES = ((1, 1), (67, 1), (1, 131), (3, 300), (4, 256), (5, 27))


def _mixed(name, weight, first, second, alone):
    return Recipe(name, weight, first=first, second=second, alone=alone, carries=True)


_DITHERED = Bfloat16(Rounding.DITHERED)
OWN = {
    recipe.name: recipe
    for recipe in (
        _mixed("float16", Float16(), Pair(), Remainder(bits=16), Float16()),
        _mixed("master16", Master(torch.float16), _DITHERED, LogCodes(8, Rounding.NEAREST), Pair()),
        _mixed("pairs", Pair(), BlockCodes(4, Rounding.STOCHASTIC), LogCodes(4, Rounding.DITHERED), _DITHERED),
        _mixed("blocks", Remainder(bits=8), BlockCodes(8, Rounding.NEAREST), Pair(), BlockCodes(4)),
        _mixed("ratios", Pair(), RatioCodes(8, Rounding.NEAREST), _DITHERED, BlockCodes(8)),
        _mixed("ratio4", _DITHERED, RatioCodes(4, Rounding.STOCHASTIC), Master(), LogCodes(8)),
    )
}
ALL = RECIPES | OWN


def zeros(codec, rows, length):
    return {c.suffix: torch.zeros(rows, c.columns(length), dtype=c.dtype) for c in codec.components}


def weights(codec, rows, length, values):
    """Components that stand for `values`; no codec of weights needs words for that."""
    return {suffix: part.clone() for suffix, part in codec.encode(values, None).items()}


class Run:
    """A parameter and its state under one backend."""

    def __init__(self, recipe, rule, values):
        self.recipe, self.rule = recipe, rule
        rows, length = values.shape
        self.weight = weights(recipe.weight, rows, length, values)
        self.moments = tuple(zeros(codec, rows, length) for codec in recipe.codecs(len(rule.moments)))

    def step(self, backend, gradient, step, **changed):
        options = {"maximize": False, "seed": 2**40 + 7, "number": 3, "first": 0} | changed
        task = Task(
            rule=self.rule,
            recipe=self.recipe,
            hyper=hyper(self.rule, step),
            weight=self.weight,
            moments=self.moments,
            gradient=gradient,
            step=step,
            **options,
        )
        assert backend.refusal(task) is None
        backend.run([task])

    def parts(self):
        names = ("weight", *self.rule.moments)
        for name, parts in zip(names, (self.weight, *self.moments), strict=True):
            for suffix, tensor in parts.items():
                yield name + suffix, tensor


def hyper(rule, step):
    """Numbers of a step, all in use."""
    one = {"rate": 0.01 / (1 - 0.9**step), "decay": 1e-3, "l2": 0.01, "keep1": 0.9, "add1": 0.1, "carry": 0.05}
    if rule.name == "adam":
        before = 1.0 if step == 1 else (1 - 0.99 ** (step - 1)) ** -0.5
        one |= {"root": (1 - 0.99**step) ** -0.5, "root_before": before, "eps": 1e-8}
    one |= {"keep2": 0.99, "add2": 0.01}
    return Hyper(**{name: float(np.float32(value)) for name, value in one.items()})


def gradients(rng, shape, dtype, n_steps):
    """Ordinary, tiny, huge, zero, and with zeros among them."""
    scales = itertools.cycle((1.0, 1e-6, 1e4, 0.0, 1e-2))
    for _, scale in zip(range(n_steps), scales, strict=False):
        values = rng.standard_normal(shape) * scale * (rng.random(shape) < 0.8)
        yield torch.from_numpy(values.astype(np.float32)).to(dtype)


def as_numbers(tensor):
    """Bits of integers and floats; every NaN the same one."""
    if not tensor.is_floating_point():
        return tensor
    wide = torch.where(tensor.isnan(), torch.nan, tensor.to(torch.float32))
    return wide.view(torch.int32)


def differing(left, right):
    """Names of the components whose bits differ."""
    return [
        name
        for (name, a), (_, b) in zip(left.parts(), right.parts(), strict=True)
        if not torch.equal(as_numbers(a), as_numbers(b))
    ]


def compared(recipe, rule, values, steps, **options):
    """Components that differ after each step of the native backend beside the eager one."""
    left, right = Run(recipe, rule, values), Run(recipe, rule, values)
    found = []
    for step, gradient in enumerate(steps, 1):
        left.step(EagerBackend(), gradient, step, **options)
        right.step(NativeBackend(), gradient, step, **options)
        found += [(step, name) for name in differing(left, right)]
    return found


@pytest.fixture
def values(rng):
    """Weights of a shape, some of them zero."""

    def make(shape):
        drawn = rng.standard_normal(shape) * (rng.random(shape) < 0.9)
        return torch.from_numpy(drawn.astype(np.float32))

    return make


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("recipe", ALL)
def test_every_recipe_and_rule_gives_the_eager_bits(recipe, rule, rng, values):
    for dtype, shape in itertools.product(DTYPES, SHAPES):
        steps = list(gradients(rng, shape, dtype, 5))
        assert compared(ALL[recipe], RULES[rule], values(shape), steps) == [], (dtype, shape)
