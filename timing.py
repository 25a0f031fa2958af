"""How long does it take, and how much memory?

from timing import measure, peak_memory
measure(lambda: classifier(crops))["median"]         # seconds
peak_memory()                                        # bytes
"""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np


def measure(function: Callable[[], object], repeats: int = 100, warmup: int = 10) -> dict[str, float]:
    """Wall time of `function` in seconds: "median", "p5", "p95" and "min" over `repeats`, after `warmup` calls.

    The function must wait for its own work; on CUDA that means `torch.cuda.synchronize()` at its end.
    """
    for _ in range(warmup):
        function()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    low, middle, high = (float(value) for value in np.percentile(times, (5, 50, 95)))
    return {"median": middle, "p5": low, "p95": high, "min": min(times)}


def peak_memory() -> int:
    """Bytes that this process held at most. (Linux counts in ru_maxrss what its parent held when it started it.)"""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
