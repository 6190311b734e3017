"""How many decades lie between two numbers, with the same bits on every machine.

Logarithms of NumPy and of the C library differ in their last place between processors, and a decision that
compares one with a threshold differs with them. This one is made of the operations that IEEE 754 fixes.
"""

import math

_LN_2 = 0.6931471805599453
_LN_10 = 2.302585092994046
_TERMS = 12  # of the series: s * s <= 0.0295, so what is left out is below the rounding error


def decades(high: float, low: float) -> float:
    """Compute ``log10(high / low)``, also where the quotient itself would overflow.

    Parameters
    ----------
    high, low : float
        Positive and finite.

    Returns
    -------
    float
        Within 1e-14 of the exact value, relatively; NaN where a number is infinite or NaN.
    """
    (a, a_exponent), (b, b_exponent) = math.frexp(high), math.frexp(low)
    exponent = a_exponent - b_exponent
    if (
        2.0 * a * a < b * b
    ):  # a / b in [sqrt(1/2), sqrt(2)]: the series is short, and a quotient near 1 has no
        a, exponent = 2.0 * a, exponent - 1  # exponent that its sum would cancel with
    elif a * a > 2.0 * b * b:
        b, exponent = 2.0 * b, exponent + 1
    s = (a - b) / (a + b)  # ln(a / b) = 2 atanh(s)
    series = 0.0
    for k in reversed(range(_TERMS)):
        series = series * (s * s) + 1.0 / (2 * k + 1)
    return (2.0 * s * series + exponent * _LN_2) / _LN_10
