"""Run scikit-learn's tests on our estimators and say what is not as listed: `python -m tests.conformance`.

Without modules all of them, which takes minutes; `make conformance` records that in a result file.
"""

import argparse
import sys

from tests.conformance.modules import every_module
from tests.conformance.run import Run
from tests.conformance.verdict import MODES, judge, table


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as linear_model.tests.test_ridge")
    parser.add_argument("--mode", choices=MODES, default="auto")
    chosen = parser.parse_args()
    modules = chosen.modules or every_module()
    verdict = judge(Run(chosen.mode, modules).outcomes(), chosen.mode, modules, table())
    print("\n".join(verdict.problems))
    print(f"passed {verdict.passed}, listed {verdict.listed.total()}, skipped {verdict.skipped}")
    sys.exit(bool(verdict.problems))


if __name__ == "__main__":
    main()
