"""Would catch: a heavy import sneaking into `import mezzotint`, or one layer waking another's libraries."""

import json
import subprocess
import sys

LIST_MODULES = """
import json, sys
before = {name.partition(".")[0] for name in sys.modules}
{statement}
after = {name.partition(".")[0] for name in sys.modules}
print(json.dumps(sorted(after - before - set(sys.stdlib_module_names))))
"""


def modules_loaded_by(statement):
    program = LIST_MODULES.replace("{statement}", statement)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_import_mezzotint_loads_numpy_only():
    assert modules_loaded_by("import mezzotint") <= {"mezzotint", "numpy"}


def test_everything_below_linear_loads_numpy_only():
    names = ("kernels", "formats", "expansions", "packed", "random")
    statement = "import " + ", ".join(f"mezzotint.{name}" for name in names)
    assert modules_loaded_by(statement) <= {"mezzotint", "numpy"}


def test_the_linear_half_needs_neither_torch_nor_pictures():
    assert modules_loaded_by("import mezzotint.linear").isdisjoint(
        {"torch", "triton", "matplotlib", "typer", "rich"}
    )


def test_the_command_line_loads_torch_for_training_only():
    statement = "import mezzotint.cli, mezzotint.cli.tour_optim, mezzotint.cli.tour_text"
    assert modules_loaded_by(statement).isdisjoint({"torch", "triton", "sklearn", "matplotlib"})
