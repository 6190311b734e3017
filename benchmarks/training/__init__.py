"""How few bytes per parameter reach the loss of fp32 master weights? `python -m benchmarks.training -h`."""
