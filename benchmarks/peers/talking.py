"""How a half is talked with: its job, its core, its memory, and a line of JSON for each run.

The peers' halves run in environments that know no Seawall: the standard library is all there is.
"""

import json
import os
import resource
import sys


def job():
    """What the last argument's file says is to be done; on the core that it names."""
    with open(sys.argv[-1], encoding="utf-8") as file:
        given = json.load(file)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {given["core"]})
    return given


def answer(work):
    """Each line on stdin names a run; what `work` tells of it is printed, with the memory.

    What a library prints by itself goes to stderr.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        told = work(line.strip())
        told["peak"] = most_memory()
        print(json.dumps(told), file=out, flush=True)


def most_memory():
    """Bytes that this process has held at most; what it was forked from does not count."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            high = next(line for line in file if line.startswith("VmHWM"))
        return int(high.split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
