"""Compiles kernels for a GPU of compute capability 9.0 without one."""

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.driver import driver

from mezzotint.optim import _triton_kernels
from mezzotint.optim._triton import LAUNCH_OPTIONS, constants

TARGET = GPUTarget("cuda", 90, 32)


def assembly_of(plan):
    """PTX of the step for aligned parameters whose numbers come as arguments."""
    kernel = _triton_kernels.step_kernel
    fixed, names = constants(plan, True, True, False), kernel.arg_names
    types = {"table": "*i64", "dynamic": "*fp32", "steps": "*i64"}
    types |= dict.fromkeys(("n_rows", "n_halvings", "step"), "i32")
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in fixed else types.get(name, "fp32") for name in names},
        constexprs={(names.index(name),): value for name, value in fixed.items()},
        attrs={(k,): [["tt.divisibility", 16]] for k in range(3)},
    )
    return triton.compile(source, target=TARGET, options=LAUNCH_OPTIONS).asm["ptx"]


def compiled_only(monkeypatch, *names):
    """Let launches of kernels compile as if for that GPU and run nothing; give the list of them."""
    compiled = []
    for name in names:
        kernel = getattr(_triton_kernels, name)
        monkeypatch.setattr(_triton_kernels, name, _CompiledOnly(kernel, compiled))
    monkeypatch.setattr(driver, "_active", _NoDevice())
    return compiled


class _CompiledOnly:
    def __init__(self, kernel, compiled):
        self._kernel, self._compiled = kernel, compiled

    def __getitem__(self, grid):
        return lambda *args, **kwargs: self._compiled.append(self._kernel.warmup(*args, grid=grid, **kwargs))


class _NoDevice:
    def get_current_device(self):
        return 99  # no real one: Triton keeps compiled kernels per device

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return TARGET

    def get_active_torch_device(self):
        return torch.device("cuda", 0)
