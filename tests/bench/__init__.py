"""Benchmarks: ratios of two things measured in one run, written to `docs/benchmarks.md`; never a timed test."""

import os

# As in the processes that compute answers. NumPy reads this when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
