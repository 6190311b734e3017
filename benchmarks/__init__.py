"""Benchmarks: one written question per case, results committed as JSON lines, tables made from them."""
