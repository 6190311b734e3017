"""Would catch: BLAS, LAPACK or libm in the solvers; their bits differ between machines (docs/numerics.md)."""

import ast
import pathlib

import mezzotint

PACKAGE = pathlib.Path(mezzotint.__file__).parent
FUNCTIONS = {
    "exp",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "pow",
    "power",
    "sin",
    "cos",
    "tanh",
}
PRODUCTS = {"dot", "matmul", "einsum", "inner", "vdot", "tensordot", "linalg"}
EXCEPTIONS = {
    "minimum_norm.py": "the rank-deficient path of LinearRegression uses LAPACK; docs/numerics.md says so",
    "pcg.py": "log10 of a ratio, only compared with a threshold",
}


def foreign_arithmetic(path):
    """Names of machine-dependent operations in a source file: np.exp, math.log, a @ b, ..."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield f"line {node.lineno}: @"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"np", "math", "scipy"}
            and node.attr in FUNCTIONS | PRODUCTS
        ):
            yield f"line {node.lineno}: {node.value.id}.{node.attr}"


def sources():
    files = [*PACKAGE.glob("packed/*.py"), *PACKAGE.glob("linear/*.py"), *PACKAGE.glob("kernels/*.py")]
    return [path for path in files if not path.name.startswith("textbook")]


def test_solvers_leave_float_products_and_functions_to_our_kernels():
    found = {path.name: list(foreign_arithmetic(path)) for path in sources()}
    assert not {name: uses for name, uses in found.items() if uses and name not in EXCEPTIONS}


def test_the_exceptions_are_still_needed():
    found = {path.name for path in sources() if any(foreign_arithmetic(path))}
    assert set(EXCEPTIONS) <= found
