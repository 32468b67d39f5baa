"""VPIN of a group, compiled: the volume of its CONSENSUS rows into the market's VPIN."""

from numba import njit

from seawall.market.features import vpin_kernels as vpins

VALID = 1


@njit(cache=True)
def step(state, row):
    """One CONSENSUS row, at the scale before it; fills in its `vpin`."""
    if row["flags"] & VALID and row["volume"] > 0.0 and row["factor"] > 0.0:
        vpins.step(state, row["volume"], row["value"][0], row["factor"])
    row["vpin"] = state["vpin"]


@njit(cache=True)
def run(states, rows):
    """A block of CONSENSUS rows, in order; states: (groups,)."""
    for i in range(len(rows)):
        step(states[rows[i]["group"]], rows[i])
