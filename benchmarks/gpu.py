"""What the GPU cases share: whether there is a device, seconds of a call on it, and its copy bandwidth."""

import statistics
from collections.abc import Callable
from typing import Any

NO_DEVICE = "no CUDA device: not run"
_COPIED_BYTES = 2**31


def lack() -> str | None:
    """Say why GPU cases cannot run here, or None."""
    try:
        import torch
    except ImportError:
        return "torch is not installed: not run"
    return None if torch.cuda.is_available() else NO_DEVICE


def seconds_per_call(call: Callable[[], Any], *, warm: int = 3, calls: int = 20) -> float:
    """Median time of a call between events on the device's stream."""
    import torch

    for _ in range(warm):
        call()
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(calls)]
    for start, end in marks:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in marks) / 1e3


def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a copy of 2 GiB within the device."""
    import torch

    source = torch.empty(_COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * _COPIED_BYTES / seconds_per_call(lambda: target.copy_(source))
