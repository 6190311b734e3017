"""Parameter groups by what a parameter is: matrices, embeddings, small tensors, vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from mezzotint.errors import ParameterError
from mezzotint.optim.base import Group, is_small
from mezzotint.optim.recipes import RECIPES, Recipe, recipe_named

__all__ = ["param_groups"]

Choice = str | Recipe | Mapping[str, Any]
Override = Mapping[str, Choice] | Callable[[str, Tensor], Choice | None]

_EMBEDDINGS = "24bit"


class _Role(StrEnum):
    """What a parameter is; the value names its group."""

    MATRIX = "matrices"
    EMBEDDING = "embeddings"
    SMALL = "small matrices"
    VECTOR = "norms and vectors"


def param_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    recipe: str | Recipe,
    embeddings: str | Recipe | None = None,
    small: str | Recipe | None = None,
    override: Override | None = None,
) -> list[Group]:
    """Sort the parameters of a model into groups for an optimizer: what decays, and how each is stored.

    Under recipes that code moments in 8 or 4 bits some tensors are worth more: norms, biases and other
    vectors and matrices of less than 4096 elements get the recipe's own choice for such (``exact32``),
    embeddings get ``24bit``. Under other recipes all get `recipe`. Norms, biases and vectors do not decay.

    Parameters
    ----------
    model : Module
        Its trainable parameters are taken, tied ones once; one that is an embedding somewhere is one.
    weight_decay : float
        Of matrices and embeddings, >= 0.
    recipe : str or Recipe
        Of matrices; the recipes of all groups are set, so the optimizer's own is not asked.
    embeddings : str or Recipe, optional
        Of the weights of modules whose class is `torch.nn.Embedding` or `EmbeddingBag`.
    small : str or Recipe, optional
        Of norms, biases, vectors and small matrices. The size of the whole tensor counts, on any number of
        ranks.
    override : dict or callable, optional
        ``{pattern: choice}`` or ``choice(name, parameter)``. A choice is a recipe or a dict of a group's
        options, ``{"recipe": "8bit", "weight_decay": 0.0, "lr": 1e-4}`` or some of them; None leaves things
        as they are. Patterns are those of `fnmatch`; all that match act, in their order. A recipe chosen so
        is kept for small tensors too. A ``"name"`` names the group.

    Returns
    -------
    list of dict
        Groups with a ``"name"``, named parameters and a recipe, as any torch optimizer takes them.

    Raises
    ------
    ParameterError
        If a pattern matches no trainable parameter, or there is no such recipe.

    Examples
    --------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Embedding(1000, 64), nn.LayerNorm(64), nn.Linear(64, 1000))
    >>> for group in param_groups(model, weight_decay=0.1, recipe="4bit", override={"2.weight": "8bit"}):
    ...     names = [name for name, _ in group["params"]]
    ...     print(group["name"], names, group["recipe"], group["weight_decay"])
    embeddings ['0.weight'] 24bit 0.1
    norms and vectors ['1.weight', '1.bias', '2.bias'] exact32 0.0
    matrices: 2.weight ['2.weight'] 8bit 0.1
    """
    main = recipe_named(recipe)
    of_small = small or main.spared or main
    recipes = {
        _Role.MATRIX: main,
        _Role.EMBEDDING: embeddings or (_EMBEDDINGS if main.spared else main),
        _Role.SMALL: of_small,
        _Role.VECTOR: of_small,
    }
    names = _names(model)
    choices = _Choices(override, names)
    groups: dict[tuple[str, str], Group] = {}
    for p, role in _roles(model).items():
        options = {
            "name": role.value,
            "recipe": recipe_named(recipes[role]),
            "weight_decay": 0.0 if role is _Role.VECTOR else weight_decay,
            **choices.of(p, role),
        }
        key = (options["name"], repr(sorted(options.items())))
        groups.setdefault(key, {**options, "params": []})["params"].append((names[p][0], p))
    return [{**group, "recipe": _listed(group["recipe"])} for group in groups.values()]


class _Choices:
    """The options that a user has chosen by name.

    Parameters
    ----------
    override : dict or callable or None
        As given.
    names : dict of Tensor to list of str
        All names of each parameter.
    """

    def __init__(self, override: Override | None, names: dict[Tensor, list[str]]) -> None:
        self._override, self._names = override, names
        known = [name for own in names.values() for name in own]
        patterns = override if isinstance(override, Mapping) else ()
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ParameterError(
                    f"override names {pattern!r}, which matches no trainable parameter; there are "
                    f"{', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
                )

    def of(self, p: Tensor, role: _Role) -> Group:
        """Give the options of a parameter; later patterns act on top of earlier ones."""
        options: Group = {}
        for label, choice in self._matching(p):
            chosen = dict(choice) if isinstance(choice, Mapping) else {"recipe": choice}
            if "recipe" in chosen:
                chosen["recipe"] = _unspared(recipe_named(chosen["recipe"]), p)
            options = {**options, "name": f"{role.value}: {label}", **chosen}
        return options

    def _matching(self, p: Tensor) -> list[tuple[str, Choice]]:
        names = self._names[p]
        if self._override is None:
            return []
        if isinstance(self._override, Mapping):
            matching = self._override.items()
            return [
                (own, choice) for own, choice in matching if any(fnmatchcase(name, own) for name in names)
            ]
        choice = self._override(names[0], p)
        return [] if choice is None else [("chosen", choice)]


def _names(model: nn.Module) -> dict[Tensor, list[str]]:
    """Give all names of each trainable parameter; tied ones have several."""
    names: dict[Tensor, list[str]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        if p.requires_grad:
            names.setdefault(p, []).append(name)
    return names


def _roles(model: nn.Module) -> dict[Tensor, _Role]:
    """Say what each trainable parameter is, by all modules that hold it."""
    holders: dict[Tensor, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if p.requires_grad:
                holders.setdefault(p, []).append((module, name))
    return {p: _role(p, held) for p, held in holders.items()}


def _role(p: Tensor, held: list[tuple[nn.Module, str]]) -> _Role:
    """Look at dimensions first: a norm of two dimensions is still a norm."""
    is_norm = any("norm" in type(module).__name__.lower() for module, _ in held)
    if p.dim() < 2 or is_norm or any(name == "bias" for _, name in held):
        return _Role.VECTOR
    if is_small(p):
        return _Role.SMALL
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module, _ in held):
        return _Role.EMBEDDING
    return _Role.MATRIX


def _unspared(recipe: Recipe, p: Tensor) -> Recipe:
    """Make a recipe that was chosen by name act on a small tensor too: the optimizer would spare it."""
    if recipe.spared is None or not is_small(p):
        return recipe
    return replace(recipe, name=f"{recipe.name}-unspared", spared=None)


def _listed(recipe: Recipe) -> str | Recipe:
    """Name the recipes that everybody knows."""
    return recipe.name if RECIPES.get(recipe.name) == recipe else recipe
