"""Caught: an abort where the second helper of a pass did not start, a RuntimeError where the first did not.

Also caught: a pass over a file that needs its read-ahead thread; tickets of 2**20 slabs, over which a larger
minibatch hung. A library that is loaded before all others refuses pthread_create after some calls.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.kernels.test_optim_step import STORAGES, stepped
from tests.kernels.test_threads import PRESENT, Problem, as_bytes
from tests.parity import test_halp, test_zipml

from mezzotint.kernels import native, segment_bounds
from mezzotint.packed import sources

ROOT = Path(__file__).parents[2]
ALLOWED = (0, 1, 2)
MANY = 7

LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static int left = 1 << 30, n_refused = 0;
void allow_threads(int count) { left = count; n_refused = 0; }
int refused_threads(void) { return n_refused; }

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *argument) {
  int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  real = dlsym(RTLD_NEXT, "pthread_create");
  if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) >= 0) return real(thread, attr, run, argument);
  n_refused++;
  return EAGAIN;
}
"""

TEAM = r"""
#include <cstdio>
#include <vector>
#include "team.h"
int main() {
  const int64_t sizes[] = {(int64_t{1} << 20) + 5, 3, 0, (int64_t{1} << 20)};
  std::vector<std::vector<char>> met;
  for (const int64_t size : sizes) met.emplace_back(size, 0);
  mezzotint::run_team(
      3, 4, sizes[0], [&](int64_t step) { return sizes[step]; },
      [&](int, int64_t step, int64_t slab) { met[step][slab]++; },
      [&](int64_t step) {
        for (const char count : met[step])
          if (count != 1) std::printf("a slab of step %d was done %d times\n", int(step), int(count));
        return true;
      });
}
"""


def compiled(folder, name, source, *flags):
    """Compile a source file into `folder`; skip where the compiler is missing."""
    language = Path(name).suffix
    compiler = shutil.which("g++" if language == ".cpp" else "gcc") or shutil.which(
        "clang++" if language == ".cpp" else "clang"
    )
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a compiler (gcc or clang)")
    (folder / name).write_text(source)
    target = (folder / name).with_suffix(".so" if "-shared" in flags else "")
    subprocess.run([compiler, name, "-o", target, *flags], cwd=folder, check=True)
    return target


# ---- what is called: a function of the number of threads, bytes come back


def exact_chunks(n_threads):
    """Rows read ahead by a thread of Python's; `n_threads` is not asked."""
    rows = np.arange(12_000_000, dtype=np.float64).reshape(-1, 100)
    bounds = segment_bounds(*rows.shape)
    found = [
        (part, float(x.sum()), x[0, 0])
        for part, x in sources.chunks(sources.as_source(rows[:, ::-1]), bounds)
    ]
    assert len(found) > 2, "one chunk needs no thread"
    return repr(found).encode()


def calls():
    """(name, call) of every threaded pass, large enough for three helpers or more."""
    problem = Problem(np.random.default_rng(0), 24_000, 600)
    for operation in PRESENT:
        yield operation.__name__, lambda n, run=operation: as_bytes(run(problem, n))
    halp = test_halp.make_case("squared", 1000, 40, 8, 2, per_batch=40, passes=8)
    yield "halp_epoch", lambda n: native.halp_epoch(*halp, n_threads=n).average.tobytes()
    zipml = test_zipml.make_case("squared", 1000, 40, 8, 2, per_batch=40, passes=8)
    yield "zipml_epoch", lambda n: native.zipml_epoch(*zipml, n_threads=n).coef.tobytes()
    yield from float_epochs(halp, zipml)
    yield "optimizer_step", lambda n: stepped(STORAGES[0], "stochastic", (2000, 900), n, 1)
    yield "read_ahead", exact_chunks


def float_epochs(halp, zipml):
    x = np.random.default_rng(0).standard_normal((1000, 40)).astype(np.float32)
    yield (
        "svrg_epoch",
        lambda n: native.svrg_epoch(x, np.ones(40), *halp[2:4], halp[5], n_threads=n).average.tobytes(),
    )
    yield "sgd_epoch", lambda n: native.sgd_epoch(x, *zipml[2:], n_threads=n).coef.tobytes()


def run_refused():
    """In a process with the library: every call with 0, 1 and 2 threads granted, beside all of them."""
    library = ctypes.CDLL(None)
    for name, call in calls():
        library.allow_threads(1 << 30)
        expected = call(MANY)
        for allowed in ALLOWED:
            print(name, allowed, end=" ", flush=True)
            library.allow_threads(allowed)
            result = call(MANY)
            refused = library.refused_threads()
            print("same" if result == expected else "differs", "refused" if refused else "asked for no more")


def child(folder):
    """Lines that `run_refused` prints in a process of its own."""
    library = compiled(folder, "refuse.c", LIBRARY, "-shared", "-fPIC", "-ldl")
    preload = f"{os.environ.get('LD_PRELOAD', '')} {library}".strip()
    as_here = ["-S"] if sys.flags.no_site else []  # an instrumented copy of the package is found that way
    program = "from tests.kernels.test_refused_threads import run_refused; run_refused()"
    return subprocess.run(
        [sys.executable, *as_here, "-c", program],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": preload},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_pass_goes_on_with_the_threads_that_start_and_gives_the_same_bits(tmp_path):
    run = child(tmp_path)
    assert run.returncode == 0, run.stdout[-300:] + run.stderr[-600:]
    lines = [line.split(maxsplit=2) for line in run.stdout.splitlines()]
    assert len(lines) == len(list(calls())) * len(ALLOWED)
    assert [line for line in lines if not line[2].startswith("same")] == []
    never = {line[0] for line in lines if line[1] == "0" and not line[2].endswith("refused")}
    assert never == set(), "these passes asked for no thread, so nothing was tested"


def test_a_minibatch_of_more_than_a_million_slabs_stays_in_its_step(tmp_path):
    team = compiled(tmp_path, "team.cpp", TEAM, "-std=c++20", "-O1", "-pthread", f"-I{ROOT / 'native'}")
    run = subprocess.run([team], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "")
