"""Would catch: a step that a compiler cuts, compiles anew as rates change, or gives other bits for.

Caught: rates read as numbers in a compiled step; a salt drawn by NumPy and a cached property,
which cut the graph.
"""

import pytest
import torch
from tests.optim import training
from tests.optim.training import assert_same, train

from mezzotint.optim import SGD, AdamW, Lion

CASES = [*((AdamW, recipe) for recipe in training.ALL), (Lion, "8bit"), (SGD, "4bit")]


@pytest.fixture
def counted():
    """Count the graphs of a test."""
    torch.compiler.reset()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    yield graphs, count
    torch.compiler.reset()


@pytest.mark.parametrize(("kind", "recipe"), CASES)
def test_a_compiled_step_is_one_graph_and_has_the_bits_of_an_eager_one(kind, recipe, counted):
    graphs, count = counted
    dtype = training.dtype_of(recipe)
    eager, compiled = (
        kind(training.parameters(dtype, [(33, 131)]), torch.tensor(1e-2), recipe=recipe, backend="eager")
        for _ in range(2)
    )
    compiled.step = torch.compile(compiled.step, fullgraph=True, backend=count)
    for number in range(4):
        for optimizer in (eager, compiled):
            optimizer.param_groups[0]["lr"].fill_(1e-2 / (number + 1))
            train(optimizer, [number])
    assert_same(compiled, eager)
    assert len(graphs) == 2, "one for the first step, which makes the states, and one for all others"


def test_a_training_step_compiles_whole_but_for_the_cut_that_torch_makes_around_backward(counted):
    graphs, count = counted
    model = torch.nn.Linear(131, 40, dtype=torch.bfloat16)
    optimizer = AdamW(model.parameters(), lr=torch.tensor(1e-2), recipe="8bit", backend="eager")

    @torch.compile(backend=count)
    def step(x):
        loss = model(x).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    before = model.weight.detach().clone()
    for _ in range(3):
        step(torch.ones(4, 131, dtype=torch.bfloat16))
    assert not torch.equal(model.weight, before)
    assert len(graphs) == 3, "forward; the first step; all other steps"
