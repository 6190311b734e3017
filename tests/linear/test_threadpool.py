"""Would catch: threads that threadpoolctl or joblib cannot hold back, and limits that outlive their block."""

import joblib
import pytest
import threadpoolctl

import mezzotint.linear  # noqa: F401 - registers the controller
from mezzotint.kernels import threads
from mezzotint.kernels.threads import resolve_n_jobs


@pytest.fixture(autouse=True)
def four_cores(monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: 4 if not threads._in_joblib_thread(joblib) else 1)
    monkeypatch.setattr("mezzotint.linear.threadpool._cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def ours():
    return [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "mezzotint"]


def test_threadpool_info_lists_mezzotint_once():
    assert [entry["num_threads"] for entry in ours()] == [4]


def test_a_limit_holds_within_its_block_only():
    with threadpoolctl.threadpool_limits(1):
        assert resolve_n_jobs(None) == 1
        assert [entry["num_threads"] for entry in ours()] == [1]
    assert resolve_n_jobs(None) == 4
    assert threads.thread_limit() is None


def test_a_limit_for_blas_is_not_one_for_mezzotint():
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert resolve_n_jobs(None) == 4


def test_an_explicit_n_jobs_is_the_callers_own_decision():
    with threadpoolctl.threadpool_limits(1):
        assert resolve_n_jobs(3) == 3


def limited():
    inside = resolve_n_jobs(None)
    with threadpoolctl.threadpool_limits(1, user_api="mezzotint"):
        pass
    return inside


def test_worker_threads_of_joblib_use_one_thread_each_and_leave_no_limit_behind():
    assert (
        joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(limited)() for _ in range(4)) == [1] * 4
    )
    assert resolve_n_jobs(None) == 4


def test_worker_processes_of_joblib_share_the_cores():
    counts = joblib.Parallel(n_jobs=joblib.cpu_count(), backend="loky")(
        joblib.delayed(resolve_n_jobs)(None) for _ in range(2)
    )
    assert counts == [1, 1]
