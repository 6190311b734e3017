"""A lower bound of the logistic losses without a penalty, whose infimum may lie at infinity.

Where classes of a row are all but impossible at a point, leaving their terms out of the loss lowers it at
every point. What is left has its infimum at a finite point, and a Newton step there gives slopes that cancel
exactly what a dual point must cancel.
"""

from flint import arb, arb_mat, ctx

from benchmarks.differential import rows
from benchmarks.differential.exact import Exact, Vector, dot, independent_columns

_IMPOSSIBLE = 0.25  # of the bits: a probability that is left out

# For every row that has more than its label left: the row, the classes that are left, their probabilities.
Face = list[tuple[int, list[int], Vector]]


def dual(exact: Exact, margins: list[Vector]) -> arb | None:
    """Return a lower bound of F from margins near its infimum; None if the slopes are no dual point."""
    face = _face(exact, margins)
    if not face:
        return arb(0)
    columns = _differences(exact, face)
    gradient, H = _derivatives(exact, face, columns)
    v = H.solve(arb_mat(len(gradient), 1, gradient), algorithm="lu").entries()
    costs = []
    for (i, _, p), row in zip(face, columns, strict=True):
        along = [-dot(each, v) if each else arb(0) for each in row]
        mean = dot(p, along)
        cost = rows.softmax_conjugate([q * (1 + a - mean) for q, a in zip(p, along, strict=True)], -1)
        if cost is None:
            return None
        costs.append(exact.t[i] * cost)
    return -sum(costs, arb(0))


def _face(exact: Exact, margins: list[Vector]) -> Face:
    if len(margins) == 1:
        half = [m / 2 for m in margins[0]]
        margins = [[-m for m in half], half]
    labels, least = _labels(exact), arb(2) ** -int(_IMPOSSIBLE * ctx.prec)
    found = []
    for i, (m, label) in enumerate(zip(zip(*margins, strict=True), labels, strict=True)):
        p = rows.softmax(m)
        classes = [k for k in range(len(p)) if k == label or p[k].mid() > least]
        if len(classes) > 1:
            total = sum((p[k] for k in classes), arb(0))
            found.append((i, classes, [p[k] / total for k in classes]))
    return found


def _labels(exact: Exact) -> list[int]:
    labels = exact.posed.y[0].tolist()
    return labels if exact.posed.loss == "softmax" else [int(label > 0) for label in labels]


def _differences(exact: Exact, face: Face) -> list[list[Vector]]:
    """Margins' derivatives, for every class of the rows of a face, in coordinates that are independent there.

    The last class (of two classes: the first) has no coordinates of its own: shifts of all change nothing.
    """
    K = max(exact.posed.n_outputs, 2)
    free = [(k, j) for k in (range(K - 1) if K > 2 else [1]) for j in exact.free]
    table = exact.A.tolist()
    every = [
        [[table[i][j] if k == own else arb(0) for own, j in free] for k in classes] for i, classes, _ in face
    ]
    kept = independent_columns(
        [[a - b for a, b in zip(row[k], row[0], strict=True)] for row in every for k in range(1, len(row))]
    )
    return [[[each[j] for j in kept] for each in row] for row in every]


def _derivatives(exact: Exact, face: Face, columns: list[list[Vector]]) -> tuple[Vector, arb_mat]:
    """Gradient and Hessian of the losses of a face."""
    labels = _labels(exact)
    steps, weighted, slopes = [], [], []
    for (i, classes, p), row in zip(face, columns, strict=True):
        mean = [dot(p, list(column)) for column in zip(*row, strict=True)]
        for k, q, each in zip(classes, p, row, strict=True):
            centred = [a - b for a, b in zip(each, mean, strict=True)]
            steps.append(each)
            weighted.append([exact.t[i] * q * value for value in centred])
            slopes.append(exact.t[i] * (q - (1 if k == labels[i] else 0)))
    A = arb_mat(steps)
    return (A.transpose() * arb_mat(len(slopes), 1, slopes)).entries(), A.transpose() * arb_mat(weighted)
