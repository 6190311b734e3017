"""Our recipes as contestants, and recipes made only to test one idea each."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.training.contestants import PEERS, SCALES, Build, Groups, Plain, Stepper, arguments
from mezzotint.optim import RECIPES, AdamW, Recipe
from mezzotint.optim.bits import Rounding
from mezzotint.optim.codecs import (
    Bfloat16,
    BlockCodes,
    Float32,
    LogCodes,
    RatioCodes,
    Remainder,
    TensorCodec,
)
from mezzotint.optim.levels import LogLevels, thresholds

_NEAREST, _STOCHASTIC, _DITHERED = Rounding.NEAREST, Rounding.STOCHASTIC, Rounding.DITHERED


class Ours(Plain):
    """An optimizer of ours, whose second moment its recipe can read."""

    @property
    def lengthening(self) -> float:
        """That of the recipe of the first group, to which all matrices belong."""
        assert isinstance(self.optimizer, AdamW)
        return self.optimizer.recipe_of(self.optimizer.param_groups[0]["params"][0]).lengthening

    def second_moment(self, parameter: Tensor) -> Tensor:
        """What the stored components stand for, divided by what the zero at its start takes from it."""
        assert isinstance(self.optimizer, AdamW)
        state = self.optimizer.state[parameter]
        codec = self.optimizer.recipe_of(parameter).second
        parts = {c.suffix: state["exp_avg_sq" + c.suffix] for c in codec.components}
        return codec.decode(parts, parameter.shape[1]) / self.weight_so_far()


def ours(recipe: str | Recipe, **options: Any) -> Build:
    """Give what builds AdamW with a recipe."""

    def build(groups: Groups, beta2: float, seed: int) -> Stepper:
        return Ours(AdamW(groups, **arguments(beta2), recipe=recipe, seed=seed, **options))

    return build


@dataclass(frozen=True)
class SqrtLevels(LogLevels):
    """Levels k**2 / top**2, k = 0 to top: evenly spaced roots, of which the first is zero."""

    stride: int = 0

    def encode(self, x: Tensor, words: Tensor | None) -> Tensor:
        """Round to a code, unbiased in x between 0 and 1."""
        code = (x.sqrt() * self.top).floor().clamp(0, self.top - 1)
        low, high = self.decode(code), self.decode(code + 1)
        return (code + (thresholds(words) < (x - low) / (high - low))).to(torch.uint8)

    def decode(self, code: Tensor) -> Tensor:
        """Square."""
        return (code.to(torch.float32) / self.top) ** 2


@dataclass(frozen=True)
class SqrtCodes(LogCodes):
    """`LogCodes` on the square-root map with a level of zero that others use."""

    @property
    def levels(self) -> LogLevels:
        """Evenly spaced roots."""
        return SqrtLevels(self.bits)


def _exact(
    name: str, first: TensorCodec | None = None, second: TensorCodec | None = None, **more: Any
) -> Recipe:
    """A recipe that stores exactly what is not named."""
    return Recipe(name, Remainder(bits=16), first or Float32(), second or Float32(), **more)


def _weight(name: str, codec: TensorCodec) -> Recipe:
    return Recipe(f"weight {name}", codec)


def _first(name: str, codec: TensorCodec, *, carries: bool) -> Recipe:
    paid = "paid" if carries else "not paid"
    return _exact(f"m {name}, loss {paid}", first=codec, carries=carries)


def _smallest(name: str, **changes: Any) -> Recipe:
    return replace(RECIPES["4bit-min"], name=f"4bit-min, {name}", **changes)


_TESTED = [
    _weight("bf16 stochastic", Bfloat16(_STOCHASTIC)),
    _weight("bf16 dithered", Bfloat16(_DITHERED)),
    _weight("24 bits nearest", Remainder(_NEAREST, bits=8)),
    _first("4-bit ratio, nearest", RatioCodes(4, _NEAREST), carries=False),
    _first("4-bit ratio, nearest", RatioCodes(4, _NEAREST), carries=True),
    _first("4-bit ratio, dithered", RatioCodes(4, _DITHERED), carries=False),
    _first("4-bit ratio, dithered", RatioCodes(4, _DITHERED), carries=True),
    _first("4-bit block, dithered", BlockCodes(4, _DITHERED), carries=True),
    _first("8-bit block, dithered", BlockCodes(8, _DITHERED), carries=True),
    _exact("v 8-bit log, nearest", second=LogCodes(8, _NEAREST)),
    _exact("v 8-bit log, stochastic", second=LogCodes(8, _STOCHASTIC)),
    _exact("v 8-bit sqrt with zero, nearest", second=SqrtCodes(8, _NEAREST)),
    _exact("v 8-bit sqrt with zero, stochastic", second=SqrtCodes(8, _STOCHASTIC)),
    _exact("v 4-bit log, nearest", second=LogCodes(4, _NEAREST)),
    _exact("v 4-bit log, stochastic", second=LogCodes(4, _STOCHASTIC)),
    _exact("v 4-bit log, dithered", second=LogCodes(4, _DITHERED)),
    _smallest("weight stochastic", weight=Bfloat16(_STOCHASTIC)),
    _smallest("weight nearest", weight=Bfloat16(_NEAREST)),
    _smallest("loss of m not paid", carries=False),
    _smallest("nothing spared", spared=None),
]

# `kahan` is left out: its storage is that of `collage-light`, and so is every bit of its run.
OURS: dict[str, Build] = {name: ours(name) for name in RECIPES if name != "kahan"} | {
    f"{name}, bf16 arithmetic": ours(name, arithmetic="bf16") for name in ("collage-light", "collage-plus")
}
ABLATIONS: dict[str, Build] = {recipe.name: ours(recipe) for recipe in _TESTED}
ABOUT_SECOND_MOMENTS = [recipe.name for recipe in _TESTED if recipe.name.startswith("v ")]

CONTESTANTS = {**SCALES, **OURS, **ABLATIONS, **PEERS}
IN_FLOAT32 = ("fp32",)  # contestants whose weights the model sees in float32
