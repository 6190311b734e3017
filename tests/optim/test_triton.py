"""Would catch: other bits than the eager reference's; caught swapped words of a draw, a lost high word of the
counter, another slot's salt, swapped half bytes, 32-bit offsets, a NaN missed by the scale, a row read by the
wrong stride, residuals not paid, contraction, fast division, narrow loads, an undeclared mutation, a kernel
compiled for each step or table.

On the CPU the kernels run in Triton's interpreter, which must be chosen before Triton is imported: one test
runs this file again in a process of its own. On a CUDA device the same table runs as compiled code.
"""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tests.optim.triton_tasks import Case, at_step, copies, differing, first_tasks, gradients_like

from mezzotint.optim import AdamW
from mezzotint.optim._eager import EagerBackend
from mezzotint.optim._plan import Plan, kind_of, plan_of
from mezzotint.optim._triton import LAUNCH_OPTIONS, TritonBackend, in_pieces, written_by_launches
from mezzotint.optim._triton_table import COLUMNS
from mezzotint.optim.codecs import BlockCodes, LogCodes, RatioCodes
from mezzotint.optim.recipes import RECIPES

INTERPRETS = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETS else "cuda"
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (torch brings it with CUDA)"
)
bf16, f16, f32 = torch.bfloat16, torch.float16, torch.float32
CASES = [
    *(Case(name, weight=f32 if name == "fp32" else bf16) for name in RECIPES),
    Case("fp32", "lion", weight=f32, gradient=f32, maximize=True),
    Case("bf16", "sgd", gradient=f32),
    Case("exact16", "momentum"),
    Case("kahan", "nesterov", gradient=f32),
    Case("mixed", "adam", weight=f16, gradient=f16),
    Case("mixed-no-master", "lion", weight=f16, gradient=f16),
    Case("8bit", "lion"),
    Case("4bit", "momentum", gradient=f32, maximize=True),
]


def on_device(test):
    """Mark a test that runs kernels: in the interpreter's process, or where there is a GPU."""
    if INTERPRETS:
        return pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")(test)
    return pytest.mark.gpu(pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")(test))


def both(tasks, others):
    TritonBackend().run(tasks)
    EagerBackend().run(others)


@pytest.mark.skipif(INTERPRETS, reason="this is the process that was started")
def test_the_interpreter_gives_the_bits_of_the_reference():
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(pathlib.Path(__file__))],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stdout[-4000:] + child.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", child.stdout)[1]) > len(CASES)


@on_device
@pytest.mark.parametrize("case", CASES, ids=str)
def test_three_steps_give_the_bits_of_the_reference(case, rng):
    tasks = first_tasks(case, DEVICE, rng)
    others = copies(tasks)
    for step in (1, 2, 3):
        gradients = gradients_like(tasks, case, rng)
        tasks, others = at_step(tasks, step, gradients), at_step(others, step, gradients)
        both(tasks, others)
    assert not differing(tasks, others)


@on_device
@pytest.mark.parametrize("recipe", ["24bit", "8bit"])
def test_nan_infinite_and_huge_gradients_pass_through_as_in_the_reference(recipe, rng):
    tasks = first_tasks(Case(recipe), DEVICE, rng)[1:2]
    tasks[0].gradient[0, :4] = torch.tensor([torch.nan, torch.inf, -torch.inf, 3e38])
    others = copies(tasks)
    for _ in range(2):
        both(tasks, others)
    assert tasks[0].weight[""].isnan().any()
    assert not differing(tasks, others)


@on_device
@pytest.mark.parametrize("recipe", ["collage-plus", "4bit-min"])
def test_numbers_in_memory_give_the_same_bits_as_arguments(recipe):
    found = {}
    for backend, capturable in (("triton", True), ("eager", False)):
        params = [torch.nn.Parameter(torch.linspace(-1, 1, 390).view(3, 130).to(DEVICE, bf16))]
        params.append(torch.nn.Parameter(torch.ones((), device=DEVICE, dtype=bf16)))
        options = {"recipe": recipe, "backend": backend, "capturable": capturable}
        opt = AdamW(params, lr=0.01, spare=lambda p: p.dim() < 2, **options)
        for step in (1, 2):
            for p in params:
                p.grad = 0.1 * step * p.detach()
            opt.step()
        assert set(opt.backends()) == {backend}
        found[backend] = [x for p in params for key, x in opt.state[p].items() if key != "step"] + params
    pairs = zip(found["triton"], found["eager"], strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


@on_device
def test_a_compiled_step_holds_the_launch_without_a_graph_break():
    found = []
    for wrap in (lambda step: step, lambda step: torch.compile(step, backend="aot_eager", fullgraph=True)):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 130, device=DEVICE).to(bf16).view(1, 130))
        opt = AdamW([p], lr=torch.tensor(0.01), recipe="24bit", backend="triton", capturable=True)
        p.grad = p.detach() * 0.1
        opt.step()
        wrap(opt.step)()
        found.append([p.detach(), *opt.state[p].values()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


@on_device
def test_tensors_with_gaps_are_stepped_in_place(rng):
    tasks = first_tasks(Case("24bit"), DEVICE, rng)[1:2]
    others = copies(tasks)
    for key, x in others[0].weight.items():
        tasks[0].weight[key] = x.T.contiguous().T
    both(tasks, others)
    assert not tasks[0].weight[""].is_contiguous()
    assert not differing([_without_gaps(tasks[0])], others)


def _without_gaps(task):
    return replace(task, weight={key: x.contiguous() for key, x in task.weight.items()})


@on_device
def test_positions_beyond_two_to_the_31_stay_exact():
    from tests.optim.triton_probes import show_positions

    out = torch.zeros(3, dtype=torch.int64, device=DEVICE)
    show_positions[(1,)](out, 2**31, 2**60, 2**62, False, **LAUNCH_OPTIONS)
    assert out[:2].tolist() == [2**41, 2**41 + 1023]
    rows = 2**33  # of 131 elements, so of two blocks
    show_positions[(1,)](out, 2 * rows // 8 - 1, 2 * rows, 131, True, **LAUNCH_OPTIONS)
    assert out.tolist() == [131 * (rows - 4), 131 * rows - 1, 66 * rows - 1]


@on_device
@pytest.mark.parametrize("firsts", [[0], [0, 1], [0, 3, 4], [0, 1, 2, 3, 9]])
def test_a_tile_finds_its_parameter(firsts):
    from tests.optim.triton_probes import show_row_of_tile

    n = len(firsts)
    table = torch.tensor([[first] + [0] * (COLUMNS - 1) for first in firsts], device=DEVICE)
    out = torch.zeros(12, dtype=torch.int64, device=DEVICE)
    show_row_of_tile[(12,)](out, table, n, (n - 1).bit_length(), **LAUNCH_OPTIONS)
    assert out.tolist() == [sum(first <= tile for first in firsts) - 1 for tile in range(12)]


@on_device
@pytest.mark.parametrize("codec", [LogCodes, BlockCodes, RatioCodes])
@pytest.mark.parametrize("bits", [4, 8])
def test_every_level_is_the_tables(codec, bits):
    from tests.optim.triton_probes import show_levels

    out = torch.zeros(2**bits, device=DEVICE)
    show_levels[(1,)](out, kind_of(codec(bits))[0], bits, **LAUNCH_OPTIONS)
    assert torch.equal(out.cpu(), codec(bits).levels.table)


@pytest.mark.gpu
@pytest.mark.skipif(INTERPRETS or not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("recipe", ["mixed", "24bit", "4bit"])
def test_a_captured_step_is_replayed(recipe):
    found = []
    for captures in (True, False):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 64 * 130, device="cuda").view(64, 130).to(bf16))
        opt = AdamW([p], lr=0.01, recipe=recipe, backend="triton" if captures else "eager", capturable=True)
        p.grad = p.detach() * 0.1
        opt.step()
        step = _captured(opt.step) if captures else opt.step
        for _ in range(3):
            step()
        found.append([p.detach(), *opt.state[p].values()])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def _captured(step):
    """Capture a step, which does not run it, and give what replays it."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@on_device
def test_a_table_written_by_kernels_holds_every_word():
    words = (*range(100), 2**21 - 1, 2**42, 2**47 + 16, 2**63 - 1)
    assert tuple(written_by_launches(words, torch.device(DEVICE)).tolist()) == words


def test_words_become_arguments_of_one_kind():
    pieces = in_pieces((0, 1, 16, 2**40, 2**63 - 1))
    assert all(piece % 2 == 1 and 3 <= piece < 2**23 for piece in pieces)


def test_a_plan_survives_as_text(rng):
    for case in CASES:
        plan = plan_of(first_tasks(case, "cpu", rng)[0])
        assert Plan.of(plan.text) == plan


def test_the_backend_says_why_it_refuses(rng):
    task = first_tasks(Case("kahan"), "cpu", rng)[0]
    backend = TritonBackend()
    if not INTERPRETS:
        assert backend.refusal(task) == "parameters lie on cpu, kernels run on cuda"
        return
    assert backend.refusal(task) is None
    assert backend.refusal(replace(task, bf16=True)) == "arithmetic is bf16"
    assert "gradient" in backend.refusal(replace(task, gradient=task.gradient.double()))


def test_without_triton_the_backend_says_so(rng, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert TritonBackend().refusal(first_tasks(Case("kahan"), "cpu", rng)[0]) == "triton is not installed"


@pytest.mark.skipif(INTERPRETS, reason="the interpreter compiles nothing")
@pytest.mark.parametrize("recipe", ["collage-plus", "8bit"])
def test_code_for_gpus_fuses_flushes_and_approximates_nothing(recipe, rng):
    from tests.optim.triton_compiler import assembly_of

    plan = plan_of(first_tasks(Case(recipe), "cpu", rng)[0])
    instructions = set(re.findall(r"^\s*(?:@\S+ )?([a-z][\w.:]+)", assembly_of(plan), re.MULTILINE))
    assert {"div.rn.f32", "sqrt.rn.f32", "ld.global.v4.b32", "st.global.v4.b32"} <= instructions
    assert not [name for name in instructions if re.search(r"fma|ftz|approx|full|mad\.rn", name)]


@pytest.mark.skipif(INTERPRETS, reason="the interpreter compiles nothing")
def test_later_steps_and_other_tables_compile_nothing_anew(rng, monkeypatch):
    from tests.optim.triton_compiler import compiled_only

    case = Case("bf16", "sgd")
    tasks = first_tasks(case, "cpu", rng)
    compiled = compiled_only(monkeypatch, "step_kernel", "write_words")
    TritonBackend().run(tasks)
    n_kernels = len(compiled)
    for step in (2, 16, 3_000_000):
        TritonBackend().run(at_step(tasks, step, gradients_like(tasks, case, rng)))
    assert len(compiled) == 4 * n_kernels
    assert len(set(map(id, compiled))) == n_kernels
    for words in ((0, 1, 2, 16), (2**40, 2**63 - 1, 48)):
        written_by_launches(words, torch.device("cpu"))
    assert compiled[-1] is compiled[-2]
