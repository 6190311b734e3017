"""Result files: caught failed runs taken for results, half lines read or kept, keys that depend on order."""

import json
import multiprocessing

from benchmarks.training import store


def task(seed):
    return {"module": "m", "function": "train", "arguments": {"seed": seed, "contestant": "a"}}


def run(seed, status="done"):
    return {"kind": "run", **task(seed), "status": status, "measured": {}}


def append_many(path, name):
    for number in range(50):
        store.append_record(path, {"kind": "run", "name": name, "number": number, "padding": "x" * 1000})


def test_what_is_in_the_file_is_not_run_again(tmp_path):
    path = tmp_path / "deeper" / "plan.jsonl"
    store.append_record(path, {"kind": "card", "topic": "plan"})
    store.append_record(path, run(1))
    assert store.missing([task(0), task(1), task(2)], store.read_records(path)) == [task(0), task(2)]


def test_a_failed_run_is_tried_again_and_its_line_stays(tmp_path):
    path = tmp_path / "plan.jsonl"
    store.append_record(path, run(1, "failed"))
    assert store.missing([task(1)], store.read_records(path)) == [task(1)]
    store.append_record(path, run(1))
    assert store.missing([task(1)], store.read_records(path)) == []
    assert len(store.read_records(path)) == 2


def test_the_order_of_arguments_makes_no_new_run():
    other = task(1) | {"arguments": dict(reversed(task(1)["arguments"].items()))}
    assert store.key(other) == store.key(task(1))
    assert store.key(task(1)) != store.key(task(2))


def test_a_line_that_was_cut_off_is_no_result_and_spoils_no_other(tmp_path):
    path = tmp_path / "plan.jsonl"
    store.append_record(path, run(1))
    with path.open("a") as file:
        file.write(json.dumps(run(2))[:-5])
    assert store.read_records(path) == [run(1)]
    store.append_record(path, run(3))
    assert store.read_records(path) == [run(1), run(3)]


def test_a_first_line_that_was_cut_off_leaves_an_empty_file(tmp_path):
    path = tmp_path / "plan.jsonl"
    path.write_text('{"kind": "ru')
    assert store.read_records(path) == []
    store.append_record(path, run(1))
    assert store.read_records(path) == [run(1)]


def test_processes_that_append_at_once_lose_no_line(tmp_path):
    path = tmp_path / "plan.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=append_many, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = {(r["name"], r["number"]) for r in store.read_records(path)}
    assert found == {(name, number) for name in "ab" for number in range(50)}
