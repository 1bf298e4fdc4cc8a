"""Benchmarks: ratios of two things measured in one run, written to `docs/benchmarks.md`; never a timed test."""
