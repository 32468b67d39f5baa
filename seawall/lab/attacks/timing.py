"""Attacks on when a source speaks: it lags, it tells an old minute again, its clock is wrong."""

from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import EventKind, empty
from seawall.core.instruments import Catalog
from seawall.lab.attacks import timing_kernels as kernels
from seawall.lab.attacks.attack import Attack, driven
from seawall.lab.attacks.parameters import Parameters

HELD = 1 << 16  # rows of a source that a stale feed holds back
RECORDED = 1 << 18  # rows that a replay remembers


class StaleFeedParameters(Parameters, frozen=True):
    """Of StaleFeed.

    Attributes:
        delay: seconds by which messages come late.
        restamp: whether exchange times are moved as well, so that the feed looks fresh.
    """

    delay: Annotated[float, Meta(ge=0.0, le=600.0, extra={"unit": "s"})] = 3.0
    restamp: bool = True


class StaleFeed(Attack):
    """Everything is true, and late. Beyond HELD rows the oldest are let go before their time."""

    name = "stale_feed"
    summary = "sends all of its messages late"
    Told = StaleFeedParameters
    parameters: StaleFeedParameters

    def __init__(self, catalog: Catalog, parameters: StaleFeedParameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._lane_of = np.full(max(1, len(catalog.sources)), -1, np.int64)
        self._lane_of[list(self.sources)] = np.arange(len(self.sources))
        self._lanes = np.zeros(len(self.sources), kernels.LANE)
        self._held = empty(len(self.sources) * HELD).reshape(len(self.sources), HELD)

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        looks = " and look fresh" if told.restamp else ""
        return f"messages come {told.delay:g} s late{looks}"

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own rows wait; the order of a source's messages stays."""
        told = self.parameters
        active = self.during(rows)
        delay, restamp = round(told.delay * SECOND), int(told.restamp)
        return driven(
            rows,
            lambda at, out: kernels.run_delay(
                self._lanes,
                self._lane_of,
                self._held,
                rows,
                at,
                active,
                delay,
                restamp,
                out,
            ),
        )


class ReplayedFeedParameters(Parameters, frozen=True):
    """Of ReplayedFeed.

    Attributes:
        length: seconds before the attack that are told again, over and over. An attack that would
            begin before so much has been seen begins when it has.
    """

    length: Annotated[float, Meta(ge=1.0, le=600.0, extra={"unit": "s"})] = 60.0


class ReplayedFeed(Attack):
    """An old recording with fresh times and numbers; at the end, a snapshot of the true book."""

    name = "replayed_feed"
    summary = "tells an old minute again and again, with fresh times and numbers"
    Told = ReplayedFeedParameters
    parameters: ReplayedFeedParameters

    def __init__(self, catalog: Catalog, parameters: ReplayedFeedParameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._shadow = self.new_shadow()
        self._echoes = np.zeros(len(catalog.books), kernels.ECHO)
        self._echoes["round"] = kernels.HONEST
        self._recording = empty(RECORDED)
        self._reels = np.zeros(1, kernels.REEL)

    def count_from(self, ts: int) -> None:
        """Let `after` count from here; there must be time for the recording."""
        if self._begun:
            return
        super().count_from(ts)
        length = round(self.parameters.length * SECOND)
        lasts = self.end - self.start
        self.start = max(self.start, ts + length)
        if self.parameters.duration > 0.0:
            self.end = self.start + lasts
        reel = self._reels[0]
        reel["length"] = length
        reel["from"], reel["start"], reel["end"] = self.start - length, self.start, self.end

    def detail(self) -> str:
        """What is done."""
        return f"the {self.parameters.length:g} s before the attack are told again and again"

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own rows are kept back, recorded ones come in their stead."""
        return driven(
            rows,
            lambda at, out: kernels.run_replay(
                self._shadow, self._echoes, self._recording, self._reels, rows, at, out
            ),
        )


class TimeSkewParameters(Parameters, frozen=True):
    """Of TimeSkew.

    Attributes:
        offset: seconds by which the exchange's clock seems to be ahead; negative: behind.
        drift: by how much more, in millionths of the time since the attack began.
    """

    offset: Annotated[float, Meta(ge=-3600.0, le=3600.0, extra={"unit": "seconds"})] = 0.2
    drift: Annotated[float, Meta(ge=-1e5, le=1e5, extra={"unit": "ppm"})] = 0.0


class TimeSkew(Attack):
    """Wrong exchange times: the source seems to lead or to lag the others."""

    name = "time_skew"
    summary = "puts wrong exchange times on its messages"
    Told = TimeSkewParameters
    parameters: TimeSkewParameters

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        drift = f", drifting {told.drift:+g} ppm" if told.drift else ""
        return f"exchange times {told.offset:+g} s off{drift}"

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own book messages and trades; a bar's open time is left."""
        stamped = (rows["kind"] <= EventKind.QUOTE) & (rows["exch_ts"] > 0)
        where = np.flatnonzero(self.own(rows) & self.during(rows) & stamped)
        passed = rows["recv_ts"][where] - self.start
        made = rows.copy()
        shift = round(self.parameters.offset * SECOND)
        made["exch_ts"][where] += shift + np.rint(passed * self.parameters.drift * 1e-6).astype(
            np.int64
        )
        return made
