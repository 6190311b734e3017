"""Would catch: a step that a compiler cuts, compiles anew as rates change, or gives other bits for.

Caught: rates read as numbers in a compiled step; a salt drawn by NumPy, a cached property and a question to
the native module, which cut the graph; an operator that does not say what it overwrites, leaves copies of
tensors with gaps, or takes the numbers of another parameter or another step.
"""

import pytest
import torch
from tests.optim import training
from tests.optim.training import assert_same, train

from mezzotint.optim import SGD, AdamW, Lion
from mezzotint.optim._operator import optimizer_step

BACKENDS = ("eager", "native")
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


def eager_and_compiled(make, backend, compiler):
    """Take four steps with an eager optimizer and with a compiled one, at another rate each."""
    eager, compiled = make(backend="eager"), make(backend=backend)
    compiled.step = torch.compile(compiled.step, fullgraph=True, backend=compiler)
    for number in range(4):
        for optimizer in (eager, compiled):
            optimizer.param_groups[0]["lr"].fill_(1e-2 / (number + 1))
            train(optimizer, [number])
    return eager, compiled


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("kind", "recipe"), CASES)
def test_a_compiled_step_is_one_graph_and_has_the_bits_of_an_eager_one(kind, recipe, backend, counted):
    graphs, count = counted

    def make(backend):
        params = training.parameters(training.dtype_of(recipe), [(33, 131)])
        return kind(params, torch.tensor(1e-2), recipe=recipe, backend=backend)

    assert_same(*eager_and_compiled(make, backend, count))
    assert len(graphs) == 2, "one for the first step, which makes the states, and one for all others"


def test_what_inductor_makes_of_a_step_with_the_operator_has_the_eager_bits(counted):
    def make(backend):
        params = training.parameters(torch.bfloat16, [(33, 131), (9, 40), (300,), (4, 5)])
        params.append(torch.nn.Parameter(params.pop().detach().t()))  # with gaps
        groups = [{"params": params[:2]}, {"params": params[2:], "weight_decay": 0.0, "recipe": "24bit"}]
        lr = torch.tensor(1e-2)
        optimizer = AdamW(groups, lr, recipe="4bit-min", backend=backend, spare=lambda p: p.dim() < 2)
        train(optimizer, [7], params[:1])  # so that counts of steps differ
        return optimizer

    eager, compiled = eager_and_compiled(make, "auto", "inductor")
    assert_same(compiled, eager)
    assert compiled.backends() == {"native": 4}


def test_the_operator_says_what_it_overwrites():
    def tensor():
        return torch.ones(2, 3)

    plan = "adam float32:0:nearest float32:0:nearest float32:0:nearest float32 0 0 0"
    given = [
        [tensor(), tensor(), tensor()],
        [tensor()],
        torch.full((1, 11), 0.5),
        torch.tensor([3]),
        [0.0] * 11,
        0,
    ]
    torch.library.opcheck(optimizer_step, (*given, [0, 0, 0], plan, "native"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_step_compiles_whole_but_for_the_cut_that_torch_makes_around_backward(backend, counted):
    graphs, count = counted
    model = torch.nn.Linear(131, 40, dtype=torch.bfloat16)
    optimizer = AdamW(model.parameters(), lr=torch.tensor(1e-2), recipe="8bit", backend=backend)

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
