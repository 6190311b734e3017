"""The estimators: scikit-learn's linear models, solved on packed data."""

from mezzotint.linear.logistic import LogisticRegression
from mezzotint.linear.ridge import LinearRegression, Ridge

__all__ = ["LinearRegression", "LogisticRegression", "Ridge"]
