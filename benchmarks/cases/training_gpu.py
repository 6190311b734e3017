"""What do the recipes cost and lose when a model of GPT-2-small's size is trained on a GPU?

124 million parameters, bfloat16 weights and activations, windows of 1024 bytes of the sources of Python's
standard library (bytes are tokens; the table of 50,304 tokens only has GPT-2's size), AdamW at beta2 = 0.95.
Each contestant sees the same batches. Tokens per second, peak memory, the mean loss of the last tenth of the
steps, the loss on held-out windows, and the largest number of windows per step that fits. The baseline holds
float32 weights and runs torch's fused AdamW under autocast.
"""

import pathlib
import sysconfig
import time
from collections.abc import Callable
from typing import Any

from benchmarks import gpu
from benchmarks.harness import Record, Run, quick

BASELINE = "float32 weights, autocast, torch fused"
_RECIPES = (
    "mixed",
    "bf16",
    "collage-light",
    "collage-plus",
    "exact16",
    "24bit",
    "8bit",
    "4bit",
    "8bit-min",
    "4bit-min",
)
_RATES = {"lr": 6e-4, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
_VOCABULARY, _WIDTH, _LAYERS, _HEADS, _LENGTH = 50_304, 768, 12, 12, 1024
_WARM_STEPS, _HELD_OUT = 100, 64
_HELD_OUT_SHARE = 0.1


def runs() -> list[Run]:
    """One process per contestant."""
    size = {"n_steps": 20, "n_windows": 2} if quick() else {"n_steps": 2000, "n_windows": 16}
    names = [BASELINE, *(f"mezzotint {recipe}" for recipe in _RECIPES)]
    return [Run(name, "measure", {"contestant": name, **size}, limit_s=3600, repeats=1) for name in names]


def lack() -> str | None:
    """Say why this case cannot run here, or None."""
    return gpu.lack()


def measure(contestant: str, n_steps: int, n_windows: int) -> Record:
    """Train, then search for the largest number of windows per step."""
    import torch

    if reason := gpu.lack():
        raise RuntimeError(reason)
    trained, held_out = _text()
    model, step = _trainer(contestant, n_steps)
    generator = torch.Generator().manual_seed(1)
    losses, start = [], time.perf_counter()
    for k in range(n_steps):
        losses.append(step(_windows(trained, n_windows, generator)))
        if k == n_steps // 2:
            torch.cuda.synchronize()
            start = time.perf_counter()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / (n_steps - 1 - n_steps // 2)
    peak = torch.cuda.max_memory_allocated()
    return {
        "seconds": seconds,
        "tokens_per_s": n_windows * _LENGTH / seconds,
        "peak_bytes": peak,
        "loss": float(torch.stack(losses[-max(1, n_steps // 10) :]).mean()),
        "held_out_loss": _held_out_loss(model, held_out),
        "most_windows": _most_windows(lambda n: step(_windows(trained, n, generator))),
        "device": torch.cuda.get_device_name(),
    }


def _text() -> tuple[Any, Any]:
    """Bytes of the standard library's sources, in the order of their paths: the first part, and the rest."""
    import torch

    folder = pathlib.Path(sysconfig.get_path("stdlib"))
    paths = [path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts]
    text = torch.frombuffer(bytearray(b"\n".join(path.read_bytes() for path in paths)), dtype=torch.uint8)
    n_trained = int(len(text) * (1 - _HELD_OUT_SHARE))
    return text[:n_trained], text[n_trained:]


def _windows(text: Any, n: int, generator: Any) -> Any:
    """Windows of the text and the byte after each place, on the device."""
    import torch

    starts = torch.randint(len(text) - _LENGTH - 1, (n, 1), generator=generator)
    return text[starts + torch.arange(_LENGTH + 1)].long().cuda()


def _model() -> Any:
    """A decoder of GPT-2-small's shape; its head is its table of tokens."""
    import torch
    from torch import nn

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(
                _WIDTH, _HEADS, 4 * _WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            )
            self.tokens, self.places = nn.Embedding(_VOCABULARY, _WIDTH), nn.Embedding(_LENGTH, _WIDTH)
            self.layers = nn.TransformerEncoder(
                layer, _LAYERS, nn.LayerNorm(_WIDTH), enable_nested_tensor=False
            )
            mask = nn.Transformer.generate_square_subsequent_mask(_LENGTH)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, windows: Any) -> Any:
            x = self.tokens(windows[:, :-1]) + self.places.weight
            logits = self.layers(x, mask=self.mask.to(x.dtype), is_causal=True) @ self.tokens.weight.T
            return nn.functional.cross_entropy(logits.flatten(0, 1).float(), windows[:, 1:].flatten())

    torch.manual_seed(0)
    model = Decoder()
    for weight in (model.tokens.weight, model.places.weight):
        nn.init.normal_(weight, std=0.02)
    return model.cuda()


def _trainer(contestant: str, n_steps: int) -> tuple[Any, Callable[[Any], Any]]:
    """Make the model and the function that takes one step and gives its loss."""
    import torch

    is_baseline = contestant == BASELINE
    model = _model() if is_baseline else _model().to(torch.bfloat16)
    optimizer = _optimizer(contestant, model)
    warm = min(_WARM_STEPS, n_steps // 4 + 1)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / warm))

    def step(windows: Any) -> Any:
        with torch.autocast("cuda", torch.bfloat16, enabled=is_baseline):
            loss = model(windows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        return loss.detach()

    return model, step


def _optimizer(contestant: str, model: Any) -> Any:
    import torch

    from mezzotint.optim import AdamW

    if contestant == BASELINE:
        return torch.optim.AdamW(model.parameters(), fused=True, **_RATES)  # type: ignore[arg-type]
    recipe = contestant.removeprefix("mezzotint ")
    return AdamW(model.parameters(), recipe=recipe, backend="triton", **_RATES)  # type: ignore[arg-type]


def _held_out_loss(model: Any, text: Any) -> float:
    """Mean loss on windows that are spread evenly over the held-out text."""
    import torch

    starts = torch.linspace(0, len(text) - _LENGTH - 2, _HELD_OUT).long()
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        losses = [model(text[s : s + _LENGTH + 1].long()[None].cuda()) for s in starts]
    return float(torch.stack(losses).mean())


def _most_windows(step: Callable[[int], Any]) -> int:
    """Double until memory ends, then halve the gap."""
    fits, fails = 0, 1
    while _fits(step, fails):
        fits, fails = fails, 2 * fails
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if _fits(step, middle) else (fits, middle)
    return fits


def _fits(step: Callable[[int], Any], n: int) -> bool:
    import torch

    try:
        step(n)
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
    return True


def _table(result: list[Record]) -> str:
    """Speed, memory and losses per contestant."""
    lines = [
        "| GPT-2-small size | tokens/s | peak GiB | loss | held-out loss | windows that fit |",
        "|---|---|---|---|---|---|",
    ]
    for record in (r for r in result if r["kind"] == "summary"):
        m = {key: value["median"] for key, value in record["measured"].items()}
        if record["status"] != "done":
            lines.append(f"| {record['name']} | {record['status']} | | | | |")
            continue
        lines.append(
            f"| {record['name']} | {m['tokens_per_s']:,.0f} | {m['peak_bytes'] / 2**30:.2f} | "
            f"{m['loss']:.4f} | {m['held_out_loss']:.4f} | {m['most_windows']:.0f} |"
        )
    return "\n".join(lines)


TABLES = {"training-gpu": _table}
