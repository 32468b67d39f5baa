"""What the sources of a market say, frame by frame, as perception sees it: panels for the lab."""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.settings import Settings
from seawall.node.assembly import shape_of
from seawall.node.naive import Watching


def panel_of(
    settings: Settings, catalog: Catalog, blocks: Iterable[Raw], least: int, most: int
) -> NDArray[np.float64]:
    """The first frames of the group with the most sources, (rows, sources, PANEL_WIDTH).

    Nobody is judged. Frames before all sources have their features are left out.

    Raises:
        DataError: there are fewer than `least` such frames; at most `most` are taken.
    """
    shape = shape_of(settings)
    group = msgspec.structs.replace(shape.gating.group, window=most)
    gating = msgspec.structs.replace(shape.gating, group=group, window_s=0.0)
    shape = msgspec.structs.replace(shape, gating=gating)
    perception = Watching(catalog, shape, catalog.numeraire(settings.numeraire))
    groups = perception.gating.groups
    at = max(range(len(groups)), key=lambda one: len(groups[one].sources))
    window = perception.gating.window
    slots = len(groups[at].sources)
    for rows in blocks:
        for _ in perception.observe(rows):
            pass
        if int(window.seen[at]) >= most:
            break
    for _ in perception.flush():
        pass
    seen = int(window.seen[at])
    order = np.arange(max(0, seen - most), seen) % most
    panel = np.ascontiguousarray(window.panel[at][order][:, :slots])
    whole = np.isfinite(panel).all(axis=(1, 2))
    first = int(whole.argmax()) if whole.any() else len(panel)
    if len(panel) - first < least:
        raise DataError(
            f"{groups[at].name} has {len(panel) - first:,} frames and {least:,} are needed; give a "
            "longer tape"
        )
    return panel[first:]
