"""How much of the machine other processes used during a measurement.

A load average cannot tell a benchmark from its neighbours; processor times can: what the whole machine was
busy, less what this process and its children used.
"""

import os
import pathlib
import resource
import time
from typing import Any

CLEAN = 0.1  # cores: more than that and a table says so


class Disturbance:
    """Starts to count when made.

    Attributes
    ----------
    other_cores : float or None
        Cores that other processes kept busy so far, on average; None where the system does not tell.
    """

    def __init__(self) -> None:
        self._start, self._busy, self._own = time.perf_counter(), _busy_s(), _own_s()

    @property
    def other_cores(self) -> float | None:
        """Busy seconds of others per second; children count once they have ended."""
        busy = _busy_s()
        if busy is None or self._busy is None:
            return None
        others = (busy - self._busy) - (_own_s() - self._own)
        return max(0.0, others / (time.perf_counter() - self._start))


def warning(other_cores: list[float | None]) -> str:
    """Return the sentence a table ends with if a measurement was disturbed or nobody knows; else nothing."""
    known = [cores for cores in other_cores if cores is not None]
    if len(known) < len(other_cores) or not known:
        return "\n\nNot recorded: whether other processes used the machine meanwhile."
    if max(known) <= CLEAN:
        return ""
    return f"\n\n**Disturbed: other processes used up to {max(known):.1f} cores meanwhile.**"


def warning_of_runs(result: list[dict[str, Any]]) -> str:
    """Return that sentence for the runs of a result file."""
    return warning([r["measured"].get("other_cores") for r in result if r["kind"] == "run" and r["measured"]])


def _busy_s() -> float | None:
    """Seconds of all cores that were neither idle nor waiting for a disk, since the start of the system."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = (int(value) for value in fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
