"""Caught: log10 in a decision. Would catch: BLAS, LAPACK or libm in the solvers, powers, an unstable argsort.

Their bits differ between machines (docs/numerics.md). Powers of Python's and NumPy's scalars are libm's
pow, whose square is not always the product; NumPy's default argsort orders ties by instruction set.
"""

import ast
import pathlib

import mezzotint

PACKAGE = pathlib.Path(mezzotint.__file__).parent
FUNCTIONS = {
    *(
        "exp",
        "exp2",
        "expm1",
        "log",
        "log1p",
        "log2",
        "log10",
        "logaddexp",
        "logaddexp2",
        "logspace",
        "geomspace",
    ),
    *("pow", "power", "float_power", "cbrt", "hypot", "gamma", "lgamma", "erf", "erfc"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "asin", "acos", "atan", "atan2"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "asinh", "acosh", "atanh"),
}
PRODUCTS = {
    "dot",
    "matmul",
    "einsum",
    "inner",
    "vdot",
    "tensordot",
    "linalg",
    "corrcoef",
    "cov",
    "convolve",
    "correlate",
}
SORTS = {"argsort", "argpartition"}
EXCEPTIONS = {
    "minimum_norm.py": "the rank-deficient path of LinearRegression uses LAPACK; docs/numerics.md says so",
    "nullspace.py": "which columns are dependent is LAPACK's word; docs/numerics.md says so",
    "nullspace_grams.py": "likewise, on many rows",
    "nullspace_doubt.py": "likewise, for columns whose dependence is in doubt",
    "logistic.py": "probabilities are SciPy's functions of our margins; docs/numerics.md says so",
    "shuffle.py": "argsort of a permutation, which has no ties",
}
# Powers whose base is not the number 2.
POWERS = {
    # of arrays: NumPy squares them by a product
    *("np.where(unit > 0, unit, 1.0) ** 2", "np.where(coordinates.unit > 0, coordinates.unit, 1.0) ** 2"),
    *("width[counts] ** 2", "packed.scale ** 2", "(m / intervals) ** 2"),
    # of integers
    *("size ** 3", "d ** 3", "n_sample ** 3", "n_columns ** 3", "n_columns ** 2", "min(shape) ** 2"),
    *("len(m) ** 3", "n_draws ** 2", "intervals ** 2"),
}


def foreign_arithmetic(path):
    """Machine-dependent operations in a source file: np.exp, math.log, a @ b, x ** 2, an argsort, ..."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = foreign(node)
        if name:
            yield f"line {node.lineno}: {name}"


def foreign(node):
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return "@"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exact = isinstance(node.left, ast.Constant) and node.left.value == 2  # a power of two, or an integer
        return None if exact or ast.unparse(node) in POWERS else ast.unparse(node)
    if isinstance(node, ast.ImportFrom) and node.module in {"math", "scipy.special", "scipy.linalg"}:
        return f"from {node.module} import"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SORTS:
        kinds = [k.value.value for k in node.keywords if k.arg == "kind"]
        return None if kinds == ["stable"] else node.func.attr
    return foreign_name(node)


def foreign_name(node):
    if not isinstance(node, ast.Attribute):
        return None
    of = ast.unparse(node.value)
    if of in {"np", "math", "scipy"} and node.attr in FUNCTIONS | PRODUCTS:
        return f"{of}.{node.attr}"
    if of in {"scipy.special", "scipy.linalg"}:
        return f"{of}.{node.attr}"
    return None


def sources():
    files = [
        path for room in ("packed", "linear", "kernels", "formats") for path in PACKAGE.glob(f"{room}/*.py")
    ]
    return [path for path in [*files, PACKAGE / "random.py"] if not path.name.startswith("textbook")]


def test_solvers_leave_float_products_and_functions_to_our_kernels():
    found = {path.name: list(foreign_arithmetic(path)) for path in sources()}
    assert not {name: uses for name, uses in found.items() if uses and name not in EXCEPTIONS}


def test_the_exceptions_are_still_needed():
    found = {path.name for path in sources() if any(foreign_arithmetic(path))}
    assert set(EXCEPTIONS) <= found
