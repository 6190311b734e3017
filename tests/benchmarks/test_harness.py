"""Would catch: contestants not taking turns, a limit that does not end a run, a half-written result file."""

import json
import os
import time

from benchmarks.harness import Run

from benchmarks import harness, measure

MODULE = "tests.benchmarks.test_harness"


def sleep(seconds):
    time.sleep(seconds)
    return {"seconds": seconds}


def fail():
    raise ValueError("no such data")


def threads():
    return {"seconds": 0.0, "variable": int(os.environ["OMP_NUM_THREADS"])}


def test_contestants_take_turns():
    runs = [Run("a", "sleep", {"seconds": 0}), Run("b", "sleep", {"seconds": 0})]
    records = harness.measure(MODULE, runs, repeats=2)
    assert [(r["name"], r["repeat"]) for r in records] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_contestant_may_ask_for_fewer_repeats():
    runs = [Run("a", "sleep", {"seconds": 0}), Run("slow", "sleep", {"seconds": 0}, repeats=1)]
    names = [record["name"] for record in harness.measure(MODULE, runs, repeats=2)]
    assert names == ["a", "slow", "a"]


def test_a_limit_that_was_reached_is_a_result():
    run = Run("slow", "sleep", {"seconds": 60}, limit_s=lambda records: 1.0)
    (record,) = harness.measure(MODULE, [run], repeats=1)
    assert record["status"] == "not reached"
    assert harness.summaries([record])[0]["status"] == "not reached"


def test_a_failure_keeps_its_message_and_the_others_go_on():
    records = harness.measure(MODULE, [Run("bad", "fail"), Run("good", "sleep", {"seconds": 0})], repeats=1)
    assert "no such data" in records[0]["error"]
    assert records[1]["status"] == "done"


def test_threads_are_pinned_through_the_environment():
    (record,) = harness.measure(MODULE, [Run("a", "threads", n_threads=3)], repeats=1)
    assert record["measured"]["variable"] == 3


def test_quartiles_of_known_numbers():
    assert harness.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0, "n": 5}
    assert harness.quartiles([2.5]) == {"median": 2.5, "q1": 2.5, "q3": 2.5, "n": 1}


def test_a_result_file_is_written_whole(tmp_path):
    records = [{"kind": "card", "date": "2026-01-02T03:04:05"}, {"kind": "run", "name": "a"}]
    path = harness.write_result("topic", records, tmp_path)
    assert path.name == "2026-01-02_topic.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == records
    assert os.listdir(tmp_path) == [path.name]


def test_a_cached_array_is_made_once(tmp_path, monkeypatch, rng):
    monkeypatch.setenv(measure.SCRATCH, str(tmp_path))
    first = measure.cached_array("x", lambda: rng.standard_normal(3))
    assert (measure.cached_array("x", lambda: rng.standard_normal(3)) == first).all()


def test_peak_memory_sees_a_passing_allocation():
    with measure.peak_memory() as memory:
        block = bytearray(64 * 2**20)
        block[::4096] = b"1" * len(block[::4096])
        del block
    assert memory.beyond > 60 * 2**20


def test_a_case_whose_device_is_lacking_is_named_and_left_out(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.gpu.lack", lambda: "no CUDA device: not run")
    monkeypatch.setattr("sys.argv", ["harness", "optim_gpu", "training_gpu"])
    monkeypatch.setattr(harness, "run_case", None)
    harness.main()
    assert capsys.readouterr().out.splitlines() == [
        "optim_gpu: no CUDA device: not run",
        "training_gpu: no CUDA device: not run",
    ]
