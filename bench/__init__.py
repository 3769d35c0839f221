"""Benchmarks: `python -m bench` prints every figure of docs/benchmarks.md, measured on this machine."""
