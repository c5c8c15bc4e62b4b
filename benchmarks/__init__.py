"""Our formulations beside the reference ones, a module per row; see docs/benchmarks.md."""
