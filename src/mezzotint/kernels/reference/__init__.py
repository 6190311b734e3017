"""The readable twin of every kernel, in plain NumPy."""
