"""The estimators: scikit-learn's linear models, solved on packed data."""

from mezzotint.linear.logistic import LogisticRegression
from mezzotint.linear.ridge import LinearRegression, Ridge
from mezzotint.linear.svm import LinearSVC, LinearSVR

__all__ = ["LinearRegression", "LinearSVC", "LinearSVR", "LogisticRegression", "Ridge"]
