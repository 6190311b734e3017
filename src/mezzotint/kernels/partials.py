"""The fixed order in which the partial sums of a pass are added."""

import numpy as np
from numpy.typing import NDArray


def tree_sum(partials: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum over the first axis, pairwise in a fixed binary tree: neighbours, then pairs of neighbours, ...

    Which thread computed which partial does not show in the result, and neither does the machine.

    Parameters
    ----------
    partials : float64 array, shape (count, ...)
        One partial sum per segment, in the order of the segments. Not changed.

    Returns
    -------
    float64 array, shape (...)
        Zeros if `count` is 0.
    """
    if len(partials) == 0:
        return np.zeros(partials.shape[1:])
    while len(partials) > 1:
        pairs = partials[: len(partials) // 2 * 2]
        total = pairs[0::2] + pairs[1::2]
        partials = np.concatenate([total, partials[-1:]]) if len(partials) % 2 else total
    return np.array(partials[0])
