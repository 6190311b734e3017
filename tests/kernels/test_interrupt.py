"""Ctrl-C inside one long native pass. Caught: a pass that never asks Python for pending signals."""

import signal
import subprocess
import sys
import time

import pytest

# A process that was started in the background inherits that Ctrl-C is ignored: the handler is set anew.
_LONG_PASS = """
import signal
import numpy as np
from mezzotint import kernels

signal.signal(signal.SIGINT, signal.default_int_handler)

{setup}
print("started", flush=True)
try:
    {call}
except KeyboardInterrupt:
    # Python raises it after a finished call too: only rows never written show that the pass was cut short.
    print("interrupted" if np.isnan(out).any() else "finished all the same", flush=True)
else:
    print("finished", flush=True)
"""

# The portable instruction set is slow enough for a signal to arrive inside one call.
_SETUP = """
kernels.use("portable")
rng = np.random.default_rng(0)
n, d, K = 60_000, 64, 60
X = rng.standard_normal((n, d)).astype(np.float32)
bounds = kernels.segment_bounds(n, d)
everything = (0, len(bounds) - 1)
v = rng.standard_normal((K, d + 1))
y, out = np.zeros((K, n)), np.full((K, n), np.nan)
"""

_EXACT = "kernels.ops().exact_pass(X, bounds, everything, v, 'squared', y, None, out, n_threads=2)"
_PACKED_SETUP = (
    _SETUP
    + """
from mezzotint.packed import pack
p = pack(X, n_jobs=1)
v = rng.standard_normal((400, d + 1))
out, ones = np.full((400, n), np.nan, np.float32), np.ones((1, n), np.float32)
"""
)
_PACKED = (
    "kernels.ops().packed_curvature(p.codes, p.layout, p.offset, p.scale, v, ones, None, out, n_threads=1)"
)


@pytest.mark.parametrize(("setup", "call"), [(_SETUP, _EXACT), (_PACKED_SETUP, _PACKED)])
def test_a_signal_ends_a_pass_with_keyboard_interrupt(setup, call):
    process = subprocess.Popen(
        [sys.executable, "-c", _LONG_PASS.format(setup=setup, call=call)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "started\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out == "interrupted\n"
