"""How long does an optimizer step take on a GPU, and what share of the device's copy bandwidth does it reach?

A billion parameters in matrices of 4096 x 4096, AdamW with decay, one process per contestant: median of
twenty steps between device events, and a copy of 2 GiB in the same process. The bytes of a contestant are
what its storage must read and write once per step, the gradient included. The baseline is what full
precision costs: torch's fused AdamW on float32 weights with float32 gradients, and the copy of the weights
to bfloat16. Peers of equal numerics: optimi's Kahan beside `collage-light` (one storage), torchao's and
bitsandbytes' 8-bit states and flashoptim beside `8bit`, torchao's 4-bit ones beside `4bit-min`.
"""

from collections.abc import Callable
from typing import Any

from benchmarks import gpu
from benchmarks.harness import Record, Run, quick

BASELINE = "torch fused, float32 + copy"
_RATES = {"lr": 1e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
_OURS = (
    "mixed",
    "exact32",
    "collage-light",
    "collage-plus",
    "exact16",
    "bf16-sr",
    "24bit",
    "8bit",
    "4bit",
    "8bit-min",
    "4bit-min",
)

Step = Callable[[], Any]


def runs() -> list[Run]:
    """One process per contestant."""
    shape = {"n_matrices": 4, "side": 1024} if quick() else {"n_matrices": 64, "side": 4096}
    return [Run(name, "measure", {"contestant": name, **shape}, limit_s=600) for name in _contestants()]


def lack() -> str | None:
    """Say why this case cannot run here, or None."""
    return gpu.lack()


def measure(contestant: str, n_matrices: int, side: int) -> Record:
    """Measure the step of one contestant."""
    import torch

    if reason := gpu.lack():
        raise RuntimeError(reason)
    make, bytes_per_parameter = _contestants()[contestant]
    params = [_parameter(side, float(k)) for k in range(n_matrices)]
    step = make(params)
    seconds = gpu.seconds_per_call(step)
    peak = torch.cuda.max_memory_allocated()
    n = n_matrices * side * side
    moved = bytes_per_parameter * n / seconds
    copied = gpu.copy_bandwidth()
    return {
        "seconds": seconds,
        "n_parameters": n,
        "bytes_per_parameter": bytes_per_parameter,
        "gb_s": moved / 1e9,
        "copy_gb_s": copied / 1e9,
        "share": moved / copied,
        "peak_bytes_per_parameter": peak / n,
        "device": torch.cuda.get_device_name(),
    }


def _contestants() -> dict[str, tuple[Callable[[list[Any]], Step], float]]:
    """How to make each contestant's step, and the bytes per parameter that it must move."""
    ours = {f"mezzotint {name}": (_ours(name), _our_bytes(name)) for name in _OURS}
    return {
        BASELINE: (_torch_fused, 34.0),
        **ours,
        "optimi Kahan, Triton": (_optimi, 18.0),
        "torchao 8-bit, stochastic bf16": (_torchao("AdamW8bit"), 10.0 + 16 / 256),
        "torchao 4-bit, stochastic bf16": (_torchao("AdamW4bit"), 8.0 + 16 / 128),
        "torchao float32 states, stochastic bf16": (_torchao("_AdamW"), 22.0),
        "bitsandbytes 8-bit": (_bitsandbytes, 10.0 + 16 / 256),
        "flashoptim 24-bit weight, 8-bit states": (_flashoptim, 12.0 + 8 / 32),
    }


def _parameter(side: int, seed: float) -> Any:
    import torch

    generator = torch.Generator("cuda").manual_seed(int(seed))
    p = torch.nn.Parameter(torch.randn(side, side, device="cuda", generator=generator).to(torch.bfloat16))
    p.grad = torch.randn(side, side, device="cuda", generator=generator).to(torch.bfloat16)
    return p


def _our_bytes(recipe: str) -> float:
    """Twice what is stored, and the gradient; of `mixed` the visible weight is written only."""
    from mezzotint.optim import RECIPES

    storage = RECIPES[recipe]
    sizes = {"element": 1.0, "pair": 0.5, "block": 1 / 128}
    stored = sum(
        part.dtype.itemsize * sizes[part.per]
        for codec in (storage.weight, storage.first, storage.second)
        for part in codec.components
    )
    return 2 * stored + 2 - (2 if recipe == "mixed" else 0)


def _ours(recipe: str) -> Callable[[list[Any]], Step]:
    def make(params: list[Any]) -> Step:
        from mezzotint.optim import AdamW

        return AdamW(params, recipe=recipe, backend="triton", **_RATES).step  # type: ignore[arg-type]

    return make


def _torch_fused(params: list[Any]) -> Step:
    import torch

    masters = [torch.nn.Parameter(p.detach().float()) for p in params]
    for master, p in zip(masters, params, strict=True):
        master.grad, p.grad = p.grad.float(), None
    optimizer = torch.optim.AdamW(masters, fused=True, **_RATES)  # type: ignore[arg-type]

    def step() -> None:
        optimizer.step()
        with torch.no_grad():
            torch._foreach_copy_(params, masters)

    return step


def _optimi(params: list[Any]) -> Step:
    import optimi

    return optimi.AdamW(params, kahan_sum=True, triton=True, **_RATES).step


def _torchao(name: str) -> Callable[[list[Any]], Step]:
    def make(params: list[Any]) -> Step:
        import torchao.optim

        return getattr(torchao.optim, name)(params, bf16_stochastic_round=True, **_RATES).step

    return make


def _bitsandbytes(params: list[Any]) -> Step:
    import bitsandbytes

    return bitsandbytes.optim.AdamW8bit(params, **_RATES).step


def _flashoptim(params: list[Any]) -> Step:
    import flashoptim

    return flashoptim.FlashAdamW(params, **_RATES).step


def _table(result: list[Record]) -> str:
    """Seconds, ratio to the baseline, bandwidth and memory per contestant."""
    found = {r["name"]: r for r in result if r["kind"] == "summary"}
    base = found[BASELINE]["measured"]["seconds"]["median"]
    lines = [
        "| AdamW step | ms | of the baseline | GB/s | share of copy | bytes per parameter at peak |",
        "|---|---|---|---|---|---|",
    ]
    for name, record in found.items():
        if record["status"] != "done":
            lines.append(f"| {name} | {record['status']} | | | | |")
            continue
        m = {key: value["median"] for key, value in record["measured"].items()}
        lines.append(
            f"| {name} | {1e3 * m['seconds']:.2f} | {m['seconds'] / base:.2f} | {m['gb_s']:.0f} | "
            f"{m['share']:.0%} | {m['peak_bytes_per_parameter']:.2f} |"
        )
    return "\n".join(lines)


TABLES = {"optim-gpu": _table}
