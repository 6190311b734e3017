"""The torch face that all optimizers share: groups, states, checkpoints, shards, choice of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.errors import ParameterError
from mezzotint.optim._backends import Dispatch
from mezzotint.optim.codecs import Component, Parts, refresh
from mezzotint.optim.recipes import RECIPES, Recipe, recipe_named
from mezzotint.optim.rules import Hyper, Rule, RuleName
from mezzotint.optim.sharding import Extent, extent_of, local
from mezzotint.optim.states import (
    STEP,
    WEIGHT,
    State,
    check_same_storage,
    layout,
    loaded,
    portable,
    zeros,
)
from mezzotint.optim.task import Formula, Task

if TYPE_CHECKING:
    from mezzotint.optim.release import GradientRelease

__all__ = ["Group", "LowPrecisionOptimizer", "is_small", "refuse_unavailable"]

Group = dict[str, Any]

SMALL = 4096
_ARITHMETICS = ("fp32", "bf16")


def is_small(param: Tensor) -> bool:
    """Say whether a parameter is a vector or has fewer than 4096 elements: some recipes spare such.

    Parameters
    ----------
    param : Tensor
        A parameter; of a DTensor the whole counts, so its precision does not depend on the number of ranks.

    Returns
    -------
    bool
        True for biases, norms and small matrices.

    Examples
    --------
    >>> is_small(torch.zeros(10_000)), is_small(torch.zeros(100, 100))
    (True, False)
    """
    return param.dim() < 2 or param.numel() < SMALL


class LowPrecisionOptimizer(torch.optim.Optimizer):
    """An optimizer whose weights and states live in few bits.

    Parameters
    ----------
    params : iterable
        Parameters or groups, as torch.optim takes them. A group may name its own ``recipe``.
    defaults : dict
        Hyper-parameters of groups that do not set them.
    recipe : str or Recipe
        How weights and states are stored; `mezzotint.optim.RECIPES` lists them.
    arithmetic : {"fp32", "bf16"}
        In what a step is computed; "bf16" rounds every operation, as Collage is published.
    seed : int
        Of stochastic rounding, 0 <= seed < 2**63.
    backend : {"auto", "eager", "native", "triton"}
        What runs a step. "auto" takes the fastest that can; any other choice is an error where it cannot.
    spare : callable, default `is_small`
        Which parameters stay in higher precision under recipes that spare some.

    Raises
    ------
    ParameterError
        If an argument is outside its range, or a parameter cannot be stored as its recipe says.
    """

    _released: GradientRelease | None = None

    def __init__(
        self,
        params: Iterable[Any],
        defaults: Group,
        *,
        recipe: str | Recipe,
        arithmetic: str = "fp32",
        seed: int = 0,
        backend: str = "auto",
        spare: Callable[[Tensor], bool] = is_small,
    ) -> None:
        if not 0 <= seed < 2**63:
            raise ParameterError(f"seed came as {seed}; it must be at least 0 and below 2**63")
        self._recipes = dict(RECIPES)
        self._spare = spare
        self._numbers: dict[Tensor, int] = {}
        self._versions: dict[Tensor, int] = {}
        self._dispatch = Dispatch(backend)
        common = {"recipe": self._register(recipe), "arithmetic": arithmetic, "seed": seed}
        super().__init__(params, {**defaults, **common})

    # ------------------------------------------------------------------ what subclasses say

    def _rule(self, group: Group) -> Rule:
        """Give the rule of a group."""
        raise NotImplementedError

    def _hyper(self, group: Group, step: int | Tensor, recipe: Recipe) -> Hyper:
        """Compute the numbers of a step of a parameter."""
        raise NotImplementedError

    def _check_group(self, group: Group) -> None:
        """Refuse hyper-parameters outside their range."""
        raise NotImplementedError

    # ------------------------------------------------------------------ torch's contract

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Say whether GradScaler may leave unscaling to `step`: it refuses gradients of float16 itself."""
        return any(p.dtype is torch.float16 for group in self.param_groups for p in group["params"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - whatever the closure returns
        """Take one step.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients anew.

        Returns
        -------
        float or Tensor or None
            What the closure returned.

        Raises
        ------
        ParameterError
            If a gradient is sparse or complex; no parameter has been changed then.
        """
        loss = None
        if closure is not None and self._released is None:
            with torch.enable_grad():
                loss = closure()
        pending = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if self._released is not None:
            self._released.end_step(closure is not None, [p for _, p in pending])
        elif not getattr(self, "found_inf", None):
            self._advance(pending)
        return loss

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters, after checking that they can be stored as their recipe says.

        Parameters
        ----------
        param_group : dict
            As in torch.optim; ``recipe`` and ``arithmetic`` may be set for this group alone.

        Raises
        ------
        ParameterError
            If a hyper-parameter is outside its range or a parameter cannot be stored so.
        """
        if "recipe" in param_group:
            param_group["recipe"] = self._register(param_group["recipe"])
        super().add_param_group(param_group)
        try:
            self._check_new_group(self.param_groups[-1])
        except ParameterError:
            self.param_groups.pop()
            raise
        for p in self.param_groups[-1]["params"]:
            self._numbers[p] = len(self._numbers)

    def state_dict(self) -> dict[str, Any]:
        """Give the state as checkpoints hold it: every bit, in tensors that any process group can carry.

        Returns
        -------
        dict
            ``"state"`` and ``"param_groups"`` as torch gives them. Remainders of 16 bits come as bytes, with
            a last dimension of 2 more.
        """
        given = super().state_dict()
        params = dict(enumerate(p for group in self.param_groups for p in group["params"]))
        states = {
            key: portable(params[key], state) if key in params else state
            for key, state in given["state"].items()
        }
        return {**given, "state": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state with every bit and every dtype as it was saved.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` has returned.

        Raises
        ------
        ParameterError
            If it was saved under another recipe or arithmetic, or a tensor has another dtype or shape than
            the recipe stores.
        """
        states: list[dict[Tensor, State]] = []
        hooks = (
            self.register_load_state_dict_pre_hook(lambda _, given: self._take(given, states)),
            self.register_load_state_dict_post_hook(lambda _: self._restore(states[0]), prepend=True),
        )
        try:
            super().load_state_dict(state_dict)
        finally:
            for hook in hooks:
                hook.remove()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_recipes", "_spare", "_numbers", "_dispatch")
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in own}, "_versions": {}}

    # ------------------------------------------------------------------ what is stored

    def recipe_of(self, param: Tensor) -> Recipe:
        """Give the recipe that a parameter is stored by, after sparing and fitting to its dtype.

        Parameters
        ----------
        param : Tensor
            One of the optimizer's parameters.

        Returns
        -------
        Recipe
            Its recipe.
        """
        return self._recipe(self._group_of(param), param)

    def state_bytes(self) -> dict[str, int]:
        """Count what the steps so far have stored on this rank, by kind.

        Returns
        -------
        dict of str to int
            Bytes of ``"weight"`` (visible parameters), of each state, and their ``"total"``. Gradients are
            not counted.
        """
        params = [p for group in self.param_groups for p in group["params"]]
        sizes = {WEIGHT: sum(local(p).nbytes for p in params)}
        for p in params:
            for key, value in self.state.get(p, {}).items():
                if key != STEP:
                    sizes[key] = sizes.get(key, 0) + local(value).nbytes
        return {**sizes, "total": sum(sizes.values())}

    def backends(self) -> dict[str, int]:
        """Say which backend ran how many parameters in the last step.

        Returns
        -------
        dict of str to int
            Number of parameters by name of the backend.
        """
        return dict(self._dispatch.last)

    # ------------------------------------------------------------------ one parameter

    @torch.no_grad()
    def _advance(self, pending: list[tuple[Group, Tensor]]) -> None:
        """Step parameters that have gradients."""
        gradients = [p.grad for _, p in pending if p.grad is not None]
        for gradient in gradients:
            _check_gradient(gradient)
        scale: Tensor | None = getattr(self, "grad_scale", None)
        given = zip(pending, gradients, strict=True)
        tasks = [self._task(group, p, _unscaled(gradient, scale)) for (group, p), gradient in given]
        self._dispatch.run([task for task in tasks if task.gradient.numel()])
        for _, p in pending:
            self.state[p][STEP] += 1  # not before: a backend may have refused
        self.finish([p for _, p in pending], tasks)

    def task(self, param: Tensor, *, ahead: int = 0) -> Task:
        """Gather what is stored of a parameter, as a backend gets it; its state is made if it has none.

        Parameters
        ----------
        param : Tensor
            One of the optimizer's parameters.
        ahead : int, default 0
            0 for the step that has been taken; 1 for the next one, which reads moments as they are stored.

        Returns
        -------
        Task
            Views of weight and moments. Where there is no gradient the weight stands in for it.
        """
        group, extent = self._group_of(param), extent_of(param)
        if not self.state[param]:
            self._initialise(param, group, extent)
        step = max(int(self.state[param][STEP].item()) + ahead, 1)
        return self._gather(group, param, param if param.grad is None else param.grad, step, extent)

    def _task(self, group: Group, p: Tensor, gradient: Tensor) -> Task:
        """Gather what the next step of one parameter needs; its state is made at the first one."""
        state, extent = self.state[p], extent_of(p)
        if not state:
            self._initialise(p, group, extent)
        tensors = torch.compiler.is_compiling() or group["capturable"]
        step = (state[STEP].to(torch.int64) if tensors else int(state[STEP].item())) + 1
        task = self._gather(group, p, gradient, step, extent)
        if not tensors and self._versions.get(p) != local(p)._version:
            refresh(task.recipe.weight, task.weight)
        return task

    def _gather(self, group: Group, p: Tensor, gradient: Tensor, step: int | Tensor, extent: Extent) -> Task:
        """View everything that a step of one parameter reads and writes."""
        state, recipe, rule = self.state[p], self._recipe(group, p), self._rule(group)
        weight = _parts(state, WEIGHT, recipe.weight.components, extent)
        weight[""] = _matrix(local(p), extent)
        names_and_codecs = zip(rule.moments, recipe.codecs(len(rule.moments)), strict=True)
        return Task(
            rule=rule,
            recipe=recipe,
            numbers=self._step_numbers(group, step, recipe),
            weight=weight,
            moments=tuple(_parts(state, name, codec.components, extent) for name, codec in names_and_codecs),
            gradient=_matrix(local(gradient), extent),
            maximize=group["maximize"],
            seed=group["seed"],
            step=step,
            number=self._numbers[p],
            first=extent.first_element,
            bf16=group["arithmetic"] == "bf16" and recipe.arithmetic_bf16,
            decay_style=group.get("weight_decay_style", "compact"),
        )

    def _step_numbers(self, group: Group, step: int | Tensor, recipe: Recipe) -> Hyper | Formula:
        """Compute the numbers of a step, or say how: in a compiled or captured step many share the work."""
        if isinstance(step, int):
            return self._hyper(group, step, recipe)
        family = next(number for number, own in enumerate(self.param_groups) if own is group)
        return Formula(lambda steps: self._hyper(group, steps, recipe), family)

    def finish(self, params: list[Tensor], tasks: list[Task]) -> None:
        """Copy back weights that had no rows in memory, and remember which weights are our own.

        Parameters
        ----------
        params : list of Tensor
            Parameters whose weights were changed.
        tasks : list of Task
            By what.
        """
        for p, task in zip(params, tasks, strict=True):
            if not local(p).is_contiguous():
                local(p).copy_(task.weight[""].view(local(p).shape))
            if not torch.compiler.is_compiling():
                self._versions[p] = local(p)._version

    def _group_of(self, param: Tensor) -> Group:
        """Find the group of a parameter."""
        for group in self.param_groups:
            if any(param is p for p in group["params"]):
                return group
        raise ParameterError("a tensor came that this optimizer does not hold; pass one of its parameters")

    def _initialise(self, p: Tensor, group: Group, extent: Extent) -> None:
        """Make the state of a parameter: zero moments, and what the visible weight leaves out."""
        state = self.state[p]
        state[STEP] = torch.tensor(0.0, dtype=torch.float32, device=_counting_device(group, p))
        for key, component in layout(self._rule(group), self._recipe(group, p)).items():
            state[key] = zeros(p, component, extent)
            if key.startswith(WEIGHT) and component.dtype is torch.float32:
                local(state[key]).copy_(local(p))

    def _take(self, given: dict[str, Any], states: list[dict[Tensor, State]]) -> dict[str, Any]:
        """Check and copy states before torch sees them: it would cast them to the dtype of the parameter."""
        numbers = [number for saved in given["param_groups"] for number in saved["params"]]
        params = [(group, p) for group in self.param_groups for p in group["params"]]
        for group, saved in zip(self.param_groups, given["param_groups"], strict=False):
            check_same_storage(group, saved)
        taken = {
            p: loaded(p, given["state"][number], layout(self._rule(group), self._recipe(group, p)))
            for number, (group, p) in zip(numbers, params, strict=False)
            if given["state"].get(number)
        }
        states.append(taken)
        return {**given, "state": {key: value for key, value in given["state"].items() if key not in numbers}}

    def _restore(self, states: dict[Tensor, State]) -> None:
        """Put them in place; what the weights are is seen in the next step."""
        self.state.update(states)
        for group in self.param_groups:
            for p in filter(states.__contains__, group["params"]):
                states[p][STEP] = states[p][STEP].to(_counting_device(group, p))
        self._versions.clear()

    # ------------------------------------------------------------------ recipes

    def _register(self, recipe: str | Recipe) -> str:
        """Keep a recipe of the user's own, so that groups and checkpoints hold its name only."""
        known = recipe_named(recipe)
        if self._recipes.setdefault(known.name, known) != known:
            raise ParameterError(
                f"two different recipes came with the name {known.name!r}; give each its own name"
            )
        return known.name

    def _recipe(self, group: Group, p: Tensor) -> Recipe:
        """Choose the recipe of a parameter."""
        recipe = self._recipes[group["recipe"]]
        if recipe.spared is not None and self._spare(p):
            recipe = self._recipes[recipe.spared]
        return recipe.for_dtype(p.dtype)

    def _check_new_group(self, group: Group) -> None:
        """Refuse what no step could use."""
        self._check_group(group)
        if group["arithmetic"] not in _ARITHMETICS:
            raise ParameterError(f"arithmetic came as {group['arithmetic']!r}; allowed are 'fp32' and 'bf16'")
        recipe = self._recipes[group["recipe"]]
        if group["arithmetic"] == "bf16" and not recipe.arithmetic_bf16:
            defined = ", ".join(name for name, other in self._recipes.items() if other.arithmetic_bf16)
            raise ParameterError(
                f"arithmetic 'bf16' came with recipe {recipe.name!r}; it is defined for {defined}"
            )
        if group["arithmetic"] == "bf16" and self._rule(group).name is not RuleName.ADAM:
            raise ParameterError(
                "arithmetic 'bf16' came with a rule that is not Adam's; use arithmetic='fp32'"
            )
        for p in group["params"]:
            self._recipe(group, p)
            extent_of(p)


def _parts(state: dict[str, Tensor], name: str, components: tuple[Component, ...], extent: Extent) -> Parts:
    """View the components of a state as matrices; the visible weight is not among the states."""
    keys = {component.suffix: name + component.suffix for component in components}
    return {suffix: _matrix(local(state[key]), extent) for suffix, key in keys.items() if key in state}


def _matrix(tensor: Tensor, extent: Extent) -> Tensor:
    """View a local tensor as rows, whatever its own shape."""
    return tensor.reshape(extent.rows, tensor.numel() // max(extent.rows, 1))


def _counting_device(group: Group, p: Tensor) -> torch.device:
    """Say where steps are counted: on the host, unless a graph on the device is to count them."""
    return local(p).device if group["capturable"] else torch.device("cpu")


def _check_gradient(gradient: Tensor) -> None:
    """Refuse gradients that rows of numbers cannot hold."""
    if gradient.is_sparse or gradient.layout is not torch.strided:
        raise ParameterError(
            "a sparse gradient came; states are dense: build the embedding with sparse=False"
        )
    if gradient.is_complex():
        raise ParameterError("a complex gradient came; use real parameters, for instance torch.view_as_real")


def _unscaled(gradient: Tensor, scale: Tensor | None) -> Tensor:
    """Divide by the scale that GradScaler has set; it is a power of two."""
    return gradient if scale is None else local(gradient).to(torch.float32) / scale.to(gradient.device)


def refuse_unavailable(**options: bool | None) -> None:
    """Refuse options of torch.optim that have no meaning here.

    Parameters
    ----------
    **options : bool or None
        Options by name.

    Raises
    ------
    ParameterError
        If one of them is switched on.
    """
    for name, value in options.items():
        if value:
            advice = (
                "choose the implementation by backend=" if name in ("foreach", "fused") else "leave it out"
            )
            raise ParameterError(f"{name}=True came; it is not available: {advice}")
