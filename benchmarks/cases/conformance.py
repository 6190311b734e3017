"""How many of scikit-learn's own tests pass with our estimators in place of its, packed or not?

Every run is one mode of tests/conformance over all modules; what fails is listed there with a reason.
"""

from typing import Any

from benchmarks.harness import Record, Run, quick

MODES = ("auto", "8 bits", "4 bits")


def runs() -> list[Run]:
    """One run per mode."""
    return [Run(mode, "check", {"mode": mode}, limit_s=3600, repeats=1) for mode in MODES]


def check(mode: str) -> Record:
    """Run the tests and judge them by the table."""
    import sklearn
    from tests.conformance.modules import every_module, quick_modules
    from tests.conformance.run import Run
    from tests.conformance.verdict import judge, table

    modules = quick_modules(mode) if quick() else every_module()
    verdict = judge(Run(mode, modules).outcomes(), mode, modules, table())
    return {
        "scikit_learn": sklearn.__version__,
        "modules": len(modules),
        "fits": verdict.fits,
        "passed": verdict.passed,
        "passed_without_ours": verdict.apart,
        "skipped": verdict.skipped,
        "listed": dict(verdict.listed),
        "patterns": dict(verdict.patterns),
        "problems": verdict.problems,
    }


def _table(result: list[Record]) -> str:
    rows = [
        "| mode | fits by ours | tests passed | failed as listed | skipped | others |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for record in result:
        if record["kind"] == "run":
            m: Any = record["measured"]
            numbers = (m["fits"], m["passed"], sum(m["listed"].values()), m["skipped"], len(m["problems"]))
            rows.append(f"| {record['name']} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return "\n".join(rows)


TABLES = {"conformance": _table}
