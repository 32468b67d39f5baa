"""The few faults that make a seed fail: delta debugging (Zeller and Hildebrandt 2002)."""

from collections.abc import Callable, Sequence

from seawall.simulation.faults import Fault


def shrunk(
    faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool], tries: int = 200
) -> list[Fault]:
    """A part of the faults with which `fails` still holds, and of which none can be left out.

    Args:
        fails: whether a run with these faults fails in the same way.
        tries: runs at most; what is left by then may still be too much.
    """
    left, parts = list(faults), 2
    while len(left) >= 2 and tries > 0:
        size = -(-len(left) // parts)
        for first in range(0, len(left), size):
            rest = left[:first] + left[first + size :]
            tries -= 1
            if fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
            if tries <= 0:
                break
        else:
            if parts >= len(left):
                break
            parts = min(len(left), 2 * parts)
    if len(left) == 1 and tries > 0 and fails([]):
        return []
    return left
