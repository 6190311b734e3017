"""Our estimators against independent references on random hostile problems; see `docs/benchmarks.md`."""
