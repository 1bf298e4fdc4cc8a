"""A peer says who it is, then does its work once for each line that it reads, and says what that took."""

import json
import sys
import time
from collections.abc import Callable


def take_turns(name: str, work: Callable[[], object], times: int = 1) -> None:
    """Answer until there are no more lines. Work of a few milliseconds is done several `times`: the mean counts."""
    print(json.dumps({"name": name}), flush=True)
    for _ in sys.stdin:
        began, used = time.perf_counter(), time.process_time()
        for _ in range(times):
            found = work()
        seconds, cpu = (time.perf_counter() - began) / times, (time.process_time() - used) / times
        print(json.dumps({"seconds": seconds, "cpu": cpu, "found": found}), flush=True)
