"""What precision loses while a model trains: effective updates, lost updates, second moments, saturation."""

from mezzotint.monitor.advice import stalled_share
from mezzotint.monitor.picture import plot
from mezzotint.monitor.precision import PrecisionMonitor
from mezzotint.monitor.rows import Row
from mezzotint.monitor.sinks import read_csv

__all__ = ["PrecisionMonitor", "Row", "plot", "read_csv", "stalled_share"]
