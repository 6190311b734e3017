"""Caught: vectors that decay, norms among matrices, a tied name missed, choices spared, bytes left out."""

import pytest
import torch
from torch import nn

from mezzotint.errors import ParameterError
from mezzotint.optim import RECIPES, AdamW, Lion, param_groups, storage_report


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_of_heads = nn.LayerNorm((80, 64))


class Language(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.words = nn.Embedding(300, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Attention(width) for _ in range(2))
        self.gate = nn.Linear(width, 2, bias=False)
        self.head = nn.Linear(width, 300, bias=False)
        self.head.weight = self.words.weight
        self.frozen = nn.Parameter(torch.zeros(100, 100), requires_grad=False)


@pytest.fixture
def model():
    return Language().bfloat16()


def sorted_of(groups):
    """Names by name of the group."""
    return {group["name"]: [name for name, _ in group["params"]] for group in groups}


def test_parameters_are_sorted_by_what_they_are_and_tied_and_frozen_ones_once_or_not_at_all(model):
    found = sorted_of(param_groups(model, weight_decay=0.1, recipe="4bit"))
    layers = [f"layers.{i}" for i in range(2)]
    assert found["matrices"] == [f"{layer}.qkv.weight" for layer in layers]
    assert found["embeddings"] == ["words.weight"]
    assert found["small matrices"] == ["gate.weight"]
    assert set(found["norms and vectors"]) == {"norm.weight", "norm.bias"} | {
        f"{layer}.{name}"
        for layer in layers
        for name in ("qkv.bias", "norm_of_heads.weight", "norm_of_heads.bias")
    }


def test_matrices_and_embeddings_decay_and_nothing_else(model):
    groups = param_groups(model, weight_decay=0.1, recipe="24bit")
    decays = {group["name"]: group["weight_decay"] for group in groups}
    assert decays == {"matrices": 0.1, "embeddings": 0.1, "small matrices": 0.1, "norms and vectors": 0.0}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("4bit", {"4bit", "24bit", "exact32"}),
        ("4bit-min", {"4bit-min", "24bit", "exact32"}),
        ("collage-plus", {"collage-plus"}),
        ("mixed", {"mixed"}),
    ],
)
def test_only_recipes_that_code_moments_keep_some_tensors_in_higher_precision(model, recipe, expected):
    groups = param_groups(model, weight_decay=0.1, recipe=recipe)
    assert {group["recipe"] for group in groups} == expected
    optimizer = AdamW(groups, lr=1e-3)
    for group in optimizer.param_groups:
        assert {optimizer.recipe_of(p).name for p in group["params"]} == {group["recipe"]}


def test_embeddings_and_small_tensors_take_another_recipe_if_asked(model):
    groups = param_groups(model, weight_decay=0.1, recipe="4bit", embeddings="8bit", small="kahan")
    assert {group["name"]: group["recipe"] for group in groups} == {
        "matrices": "4bit",
        "embeddings": "8bit",
        "small matrices": "kahan",
        "norms and vectors": "kahan",
    }


def test_patterns_act_in_their_order_on_every_name_of_a_tied_parameter(model):
    override = {
        "layers.*.qkv.weight": "8bit",
        "layers.1.*": {"weight_decay": 0.5, "lr": 1e-4},
        "head.weight": "exact32",
    }
    groups = param_groups(model, weight_decay=0.1, recipe="4bit", override=override)
    by_name = {name: group for group in groups for name, _ in group["params"]}
    assert by_name["layers.0.qkv.weight"]["recipe"] == "8bit"
    assert by_name["layers.0.qkv.weight"]["weight_decay"] == 0.1
    last = by_name["layers.1.qkv.weight"]
    assert (last["recipe"], last["weight_decay"], last["lr"]) == ("8bit", 0.5, 1e-4)
    assert by_name["layers.1.qkv.bias"]["recipe"] == "exact32"
    assert by_name["words.weight"]["recipe"] == "exact32"
    assert sum(len(group["params"]) for group in groups) == len(by_name) == 12


def test_a_callable_decides_by_name_and_parameter(model):
    groups = param_groups(
        model,
        weight_decay=0.1,
        recipe="8bit",
        override=lambda name, p: "mixed" if name.startswith("layers.0") and p.dim() == 2 else None,
    )
    found = sorted_of(groups)
    assert found["matrices: chosen"] == ["layers.0.qkv.weight"]
    assert found["norms and vectors: chosen"] == [
        "layers.0.norm_of_heads.weight",
        "layers.0.norm_of_heads.bias",
    ]


def test_a_recipe_chosen_for_a_small_tensor_is_kept_by_the_optimizer(model):
    groups = param_groups(model, weight_decay=0.1, recipe="4bit", override={"gate.weight": "8bit"})
    optimizer = AdamW(groups, lr=1e-3)
    assert optimizer.recipe_of(model.gate.weight).second == RECIPES["8bit"].second


def test_a_pattern_that_matches_nothing_is_named(model):
    with pytest.raises(
        ParameterError, match=r"'layer\.\*', which matches no trainable parameter; there are wo"
    ):
        param_groups(model, weight_decay=0.1, recipe="4bit", override={"layer.*": "8bit"})


def test_torchs_own_optimizers_take_the_groups(model):
    groups = param_groups(model, weight_decay=0.1, recipe="24bit")
    theirs = torch.optim.AdamW(groups, lr=1e-3)
    assert [group["weight_decay"] for group in theirs.param_groups] == [g["weight_decay"] for g in groups]


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("kind", [AdamW, Lion])
def test_the_report_made_before_the_first_step_is_what_is_stored_after_it(recipe, kind):
    model = Language()
    model = model if recipe == "fp32" else model.bfloat16()
    override = {"gate.weight": "8bit", "layers.1.qkv.bias": "8bit"}
    optimizer = kind(param_groups(model, weight_decay=0.1, recipe=recipe, override=override), lr=1e-3)
    report = storage_report(optimizer)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert report.n_bytes == optimizer.state_bytes()["total"]
    assert {row.name: row.recipe for row in report.rows} == {
        name: optimizer.recipe_of(p).name
        for group in optimizer.param_groups
        for name, p in zip(group["param_names"], group["params"], strict=True)
    }


@pytest.mark.parametrize(
    ("recipe", "n_bytes"),
    [
        ("fp32", 12),
        ("mixed", 14),
        ("exact32", 12),
        ("mixed-no-master", 10),
        ("bf16", 6),
        ("bf16-sr", 6),
        ("kahan", 8),
        ("collage-light", 8),
        ("collage-plus", 10),
        ("exact16", 10),
        ("24bit", 7),
        ("8bit", 5.03125),
        ("4bit", 4.03125),
        ("8bit-min", 4.03125),
        ("4bit-min", 3.03125),
    ],
)
def test_bytes_per_parameter_are_those_of_the_table(recipe, n_bytes):
    w = nn.Parameter(torch.ones(64, 128, dtype=torch.float32 if recipe == "fp32" else torch.bfloat16))
    optimizer = AdamW([w], recipe=recipe)
    assert storage_report(optimizer).bytes_per_parameter == n_bytes
    w.grad = torch.ones_like(w)
    optimizer.step()
    assert optimizer.state_bytes()["total"] == n_bytes * w.numel()


def test_the_report_joins_alike_layers_and_sums_up(model):
    optimizer = AdamW(param_groups(model, weight_decay=0.1, recipe="8bit"), lr=1e-3)
    lines = str(storage_report(optimizer)).splitlines()
    joined = next(line for line in lines if line.startswith("layers.*.qkv.weight (2 of them)"))
    n_bytes = 2 * 384 * (128 * 5 + 4)
    assert joined.split()[-2:] == [str(n_bytes), f"{n_bytes / (2 * 384 * 128):.2f}"]
    assert lines[-1].split()[:2] == ["all", str(storage_report(optimizer).n_bytes)]
