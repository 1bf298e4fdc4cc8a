"""Imported once by the process that worker processes are forked from: it loads what they all need.

So a new worker is there in some milliseconds, and all workers share the memory of the libraries. The process must have
no threads when it forks, so that the libraries of linear algebra get none.
"""

import os
import sys
from typing import Any

from app.readers.gc_pause import gc_paused

# NumPy reads this when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

with gc_paused():  # what is loaded stays
    from app.access import kept_cohorts, study_answers, worker_process
    from app.access.warming import warm
    from app.store import segments

    # pandas loads pyarrow if it finds it: 35 MB that only Parquet needs, and a thread.
    _modules: dict[str, Any] = sys.modules
    _modules["pyarrow"] = None
    warm()
    del _modules["pyarrow"]

__all__ = ["kept_cohorts", "segments", "study_answers", "worker_process"]
