"""Checks and calls of the compiled kernels; same functions as mezzotint.kernels.reference."""
