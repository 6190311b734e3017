"""Would catch: a table in README.md or docs/ that differs from the result file it is made from."""

import importlib

from benchmarks import harness, tables


def test_tables_are_what_the_result_files_say():
    stale = [page.name for page in tables.stale_pages()]
    assert not stale, "run: python -m benchmarks.tables"


def test_every_case_asks_a_question_and_offers_runs():
    for name in harness.case_names():
        case = importlib.import_module(f"benchmarks.cases.{name}")
        question = case.__doc__.strip().splitlines()[0]
        assert question.endswith("?"), name
        assert case.runs()
        assert isinstance(case.TABLES, dict)


def test_every_result_file_starts_with_a_card_and_holds_every_run():
    for path in sorted(harness.RESULTS.glob("*.jsonl")):
        records = tables.read_result(path)
        assert records[0]["kind"] == "card", path.name
        assert {"commit", "processor", "cores", "versions"} <= set(records[0]), path.name
        names = {record["name"] for record in records[1:]}
        assert names == {record["name"] for record in records if record["kind"] == "summary"}, path.name
