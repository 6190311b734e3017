"""Recipes: how weight and moments of a parameter are stored, by name.

Bytes count the visible weight and the state, not the gradient, for a rule with two moments (Adam).

==================  ==============================  ================================  =========
recipe              weight                          moments                           bytes
==================  ==============================  ================================  =========
``fp32``            float32                         float32                           12
``mixed``           bf16 or fp16 + float32 master   float32                           14
``exact32``         bf16 + int16                    float32                           12
``mixed-no-master`` bf16                            float32                           10
``bf16``            bf16 to nearest                 bf16 to nearest                   6
``bf16-sr``         bf16 stochastic                 bf16 stochastic                   6
``kahan``           bf16 + bf16                     bf16 to nearest                   8
``collage-light``   bf16 + bf16                     bf16 to nearest                   8
``collage-plus``    bf16 + bf16                     bf16; v as bf16 + bf16            10
``exact16``         bf16 + int16                    bf16; v as bf16 + bf16            10
``24bit``           bf16 + int8                     bf16 dithered                     7
``8bit``            bf16 + int8                     8-bit codes                       5.03
``4bit``            bf16 + int8                     4-bit codes                       4.03
``8bit-min``        bf16 dithered                   8-bit codes                       4.03
``4bit-min``        bf16 dithered                   4-bit codes                       3.03
==================  ==============================  ================================  =========
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from mezzotint.errors import ParameterError
from mezzotint.optim.bits import Rounding
from mezzotint.optim.codecs import (
    Bfloat16,
    BlockCodes,
    Float16,
    Float32,
    LogCodes,
    Master,
    Pair,
    RatioCodes,
    Remainder,
    TensorCodec,
)

__all__ = ["RECIPES", "Recipe", "recipe_named"]

_HALF_NAMES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


@dataclass(frozen=True)
class Recipe:
    """How the weight and the moments of a parameter are stored.

    Attributes
    ----------
    name : str
        What it is called in reports and checkpoints.
    weight : TensorCodec
        Of the weight; its main component is the parameter that the model sees.
    first : TensorCodec
        Of the first moment beside a second one (Adam).
    second : TensorCodec
        Of the second moment.
    alone : TensorCodec
        Of the only moment of a rule (Lion, SGD).
    carries : bool
        Whether what storing lost of the first moment is paid to the weight at once, where the rule can.
    spared : str or None
        Recipe of the tensors that stay in higher precision (vectors and small tensors); None spares none.
    arithmetic_bf16 : bool
        Whether Collage's published arithmetic, in which every operation is rounded to bfloat16, is defined
        for it.
    """

    name: str
    weight: TensorCodec
    first: TensorCodec = field(default_factory=Float32)
    second: TensorCodec = field(default_factory=Float32)
    alone: TensorCodec = field(default_factory=Float32)
    carries: bool = False
    spared: str | None = None
    arithmetic_bf16: bool = False

    def codecs(self, n_moments: int) -> tuple[TensorCodec, ...]:
        """Give the codecs of the moments of a rule.

        Parameters
        ----------
        n_moments : int
            0, 1 or 2.

        Returns
        -------
        tuple of TensorCodec
            One per moment, the first moment first.
        """
        return ((), (self.alone,), (self.first, self.second))[n_moments]

    @property
    def lengthening(self) -> float:
        """How many times too long steps of Adam would be, whose stored second moments are spread.

        The denominator of a step is multiplied by it. 1 where second moments are not logarithmic codes.
        """
        return self.second.lengthening if isinstance(self.second, LogCodes) else 1.0

    def for_dtype(self, dtype: torch.dtype) -> Recipe:
        """Fit the weight's codec to the dtype of a parameter.

        Parameters
        ----------
        dtype : torch.dtype
            float32, bfloat16 or float16.

        Returns
        -------
        Recipe
            The same moments. float32 parameters hold their weight themselves; float16 ones need ``mixed`` or
            ``mixed-no-master``.

        Raises
        ------
        ParameterError
            If no weight of this dtype can be stored so.
        """
        if dtype is torch.float32:
            return replace(self, weight=Float32(), arithmetic_bf16=False)
        if dtype is self.weight.components[0].dtype:
            return self
        if dtype is torch.float16 and isinstance(self.weight, Master):
            return replace(self, weight=Master(torch.float16))
        if dtype is torch.float16 and self.name == "mixed-no-master":
            return replace(self, weight=Float16())
        if self.name == "fp32" and dtype is torch.bfloat16:
            raise ParameterError(
                "recipe 'fp32' came with a bfloat16 parameter; it stores weights in float32: use recipe "
                "'mixed' or 'exact32'"
            )
        raise ParameterError(
            f"recipe {self.name!r} came with a parameter of {dtype}; it stores weights as bfloat16 (float32 "
            "parameters keep theirs): convert the model to bfloat16, or use recipe 'mixed' for float16"
        )


def recipe_named(recipe: str | Recipe) -> Recipe:
    """Give the recipe of a name; recipes of one's own pass through.

    Parameters
    ----------
    recipe : str or Recipe
        A name of `RECIPES`, or a recipe.

    Returns
    -------
    Recipe
        The recipe.

    Raises
    ------
    ParameterError
        If there is no such name.

    Examples
    --------
    >>> recipe_named("collage-light").weight
    Pair()
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ParameterError(f"recipe came as {recipe!r}; allowed are {', '.join(RECIPES)}, or a Recipe")
    return RECIPES[recipe]


_NEAREST, _STOCHASTIC, _DITHERED = Bfloat16(), Bfloat16(Rounding.STOCHASTIC), Bfloat16(Rounding.DITHERED)
_24_BITS = Remainder(Rounding.DITHERED, bits=8)


def _coded(name: str, weight: TensorCodec, bits: int) -> Recipe:
    """Make a recipe whose moments are codes: second moments stochastic, what first ones lose is paid."""
    return Recipe(
        name,
        weight,
        first=RatioCodes(bits, Rounding.DITHERED),
        second=LogCodes(bits, Rounding.STOCHASTIC),
        alone=BlockCodes(bits, Rounding.DITHERED),
        carries=True,
        spared="exact32",
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", Float32()),
        Recipe("mixed", Master()),
        Recipe("exact32", Remainder(bits=16)),
        Recipe("mixed-no-master", _NEAREST),
        Recipe("bf16", _NEAREST, _NEAREST, _NEAREST, _NEAREST, arithmetic_bf16=True),
        Recipe("bf16-sr", _STOCHASTIC, _STOCHASTIC, _STOCHASTIC, _STOCHASTIC),
        Recipe("kahan", Pair(), _NEAREST, _NEAREST, _NEAREST),
        Recipe("collage-light", Pair(), _NEAREST, _NEAREST, _NEAREST, arithmetic_bf16=True),
        Recipe("collage-plus", Pair(), _NEAREST, Pair(), _NEAREST, arithmetic_bf16=True),
        Recipe("exact16", Remainder(bits=16), _NEAREST, Pair(), _NEAREST),
        Recipe("24bit", _24_BITS, _DITHERED, _DITHERED, _DITHERED),
        _coded("8bit", _24_BITS, 8),
        _coded("4bit", _24_BITS, 4),
        _coded("8bit-min", _DITHERED, 8),
        _coded("4bit-min", _DITHERED, 4),
    )
}
"""All recipes by name."""
