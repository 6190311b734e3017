"""Tasks for parity tests: the same weights, moments and gradients for two backends."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from mezzotint.optim.recipes import RECIPES
from mezzotint.optim.rules import AdamRule, Hyper, LionRule, SGDRule
from mezzotint.optim.task import Task

RULES = {
    "adam": AdamRule(),
    "lion": LionRule(),
    "sgd": SGDRule(),
    "momentum": SGDRule(has_momentum=True),
    "nesterov": SGDRule(has_momentum=True, nesterov=True),
}
# Rows and columns, and the first element: one element; odd rows; more than a tile, and aligned. Shards begin
# anywhere, also beyond 2**34, and not always at a multiple of four.
PLACES = (((1, 1), 0), ((3, 131), 131 * 2**28 + 131), ((1, 1200), 1200 * 7))


@dataclass(frozen=True)
class Case:
    """A line of the parity table."""

    recipe: str
    rule: str = "adam"
    weight: torch.dtype = torch.bfloat16
    gradient: torch.dtype = torch.bfloat16
    maximize: bool = False

    def __str__(self):
        names = [str(dtype).removeprefix("torch.") for dtype in (self.weight, self.gradient)]
        return "-".join([self.recipe, self.rule, *names, *(["maximize"] if self.maximize else [])])


def first_tasks(case, device, rng):
    """Tasks of step 1, with random weights and no moments yet."""
    return [_task(case, number, shape, first, device, rng) for number, (shape, first) in enumerate(PLACES)]


def at_step(tasks, step, gradients):
    """The same parameters at another step."""
    return [
        replace(task, step=step, numbers=hyper(step), gradient=gradient)
        for task, gradient in zip(tasks, gradients, strict=True)
    ]


def copies(tasks):
    """Tasks whose weights and moments are copies."""
    return [
        replace(
            task,
            weight={key: value.clone() for key, value in task.weight.items()},
            moments=tuple({key: value.clone() for key, value in parts.items()} for parts in task.moments),
        )
        for task in tasks
    ]


def hyper(step):
    """Numbers that are all different and none special."""
    values = [
        0.011 + 0.001 * step,
        0.0013,
        0.017,
        0.91,
        0.093,
        0.97,
        0.031,
        1.7 / step,
        1.9 / step,
        1e-6,
        0.021,
    ]
    return Hyper(*(float(np.float32(value)) for value in values))


def gradients_like(tasks, case, rng):
    """Gradients over many orders of magnitude."""
    return [_gradient(task.weight[""], case, rng) for task in tasks]


def differing(tasks, others):
    """Components whose bits differ; NaN equals NaN."""
    found = []
    for task, other in zip(tasks, others, strict=True):
        pairs = zip((task.weight, *task.moments), (other.weight, *other.moments), strict=True)
        found += [
            f"slot {slot}{key} of {tuple(parts[''].shape)}"
            for slot, (parts, twins) in enumerate(pairs)
            for key in parts
            if not torch.equal(_bits(parts[key]), _bits(twins[key]))
        ]
    return found


def _bits(x):
    """Integers of the same size, one for all NaN."""
    if not x.is_floating_point():
        return x
    x = torch.where(x.isnan(), torch.full_like(x, torch.nan), x)
    return x.view(torch.int32 if x.element_size() == 4 else torch.int16)


def _task(case, number, shape, first, device, rng):
    rule, recipe = RULES[case.rule], RECIPES[case.recipe].for_dtype(case.weight)
    x = torch.tensor(rng.standard_normal(shape), dtype=torch.float32, device=device)
    return Task(
        rule=rule,
        recipe=recipe,
        numbers=hyper(1),
        weight={key: value.clone() for key, value in recipe.weight.encode(x, None).items()},
        moments=tuple(_zeros(codec, shape, device) for codec in recipe.codecs(len(rule.moments))),
        gradient=_gradient(x, case, rng),
        maximize=case.maximize,
        seed=2**62 + 12345,
        step=1,
        number=number,
        first=first,
    )


def _zeros(codec, shape, device):
    rows, length = shape
    return {
        part.suffix: torch.zeros((rows, part.columns(length)), dtype=part.dtype, device=device)
        for part in codec.components
    }


def _gradient(like, case, rng):
    values = rng.standard_normal(like.shape) * 10.0 ** rng.uniform(-4, 0, like.shape)
    return torch.tensor(values, dtype=torch.float32).to(case.gradient).to(like.device)
