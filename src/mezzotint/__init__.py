"""mezzotint: train models in few bits and reach the answer of full precision."""

__version__ = "0.1.0"
