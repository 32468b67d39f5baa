"""Attacks on what a source says about prices: each moves its whole book, consistently."""

from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.core.instruments import Catalog
from seawall.core.order_book import new_ladders
from seawall.lab.attacks import rewriting_kernels as rewriting
from seawall.lab.attacks.attack import Attack, driven
from seawall.lab.attacks.draws import normals, uniforms
from seawall.lab.attacks.parameters import Number, Parameters, Share, Sigmas
from seawall.lab.attacks.shadow_kernels import FALLBACK

Frames = NDArray[np.int64]
Floats = NDArray[np.float64]
AtLeastZero = Annotated[float, Meta(ge=0.0, extra={"unit": "sigma"})]


class StoryAttack(Attack):
    """An attack that goes through the rewriting kernel: moved, frozen or silent books."""

    def __init__(self, catalog: Catalog, parameters: Parameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._shadow = self.new_shadow()
        self._stories = np.zeros(len(catalog.books), rewriting.STORY)
        self._stories["wanted"] = np.nan
        self._stories["frame"] = -1
        self._spare = new_ladders(1)

    def sigma(self, group: str) -> float:
        """What a sigma of a consensus group is taken for: the fallback until it is measured."""
        index = sorted({i.consensus_group for i in self.catalog.instruments}).index(group)
        return float(self._shadow.groups["sigma"][index]) or FALLBACK

    def size(self, sigmas: float) -> str:
        """So many sigmas in words; in basis points by the asset that moves most."""
        groups = {i.consensus_group for i in self.catalog.instruments}
        points = 1e4 * sigmas * max(self.sigma(group) for group in groups)
        digits = ",.0f" if abs(points) >= 10.0 else ".2g"
        return f"{sigmas:g} sigma ({points:{digits}} basis points)"

    def wishes(self, rows: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
        """(rows,) what to tell, and the sigmas by which books are moved (NaN: the truth)."""
        raise NotImplementedError

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows as the attacker lets them be."""
        wishes, wanted = self.wishes(rows)
        return driven(
            rows,
            lambda at, out: rewriting.run(
                self._shadow, self._stories, self._spare, rows, at, wishes, wanted, out
            ),
        )


class ValueAttack(StoryAttack):
    """Moves the owned books by a number of sigmas that may change from frame to frame."""

    def wishes(self, rows: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
        """Nothing is kept back; own rows during the attack are moved."""
        wanted = np.full(len(rows), np.nan)
        where = np.flatnonzero(self.own(rows) & self.during(rows))
        if len(where):
            mine = rows[where]
            frame = (mine["recv_ts"] - self.start) // self.frame_ns
            wanted[where] = self.offsets(frame, mine)
        return np.zeros(len(rows), np.int64), wanted

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """Sigmas for owned rows; `frame` counts from the attack's start."""
        raise NotImplementedError


class MeanShiftParameters(Parameters, frozen=True):
    """Of MeanShift.

    Attributes:
        offset: sigmas by which a poisoned sample is moved.
        share: share of the frames that are poisoned.
        samples: frames to poison, then the attack rests; 0 is no limit.
        of: what a sample is: the return in a frame, whose offsets add up to a price that walks
            away, or the price in a frame, which is back at the truth in the next honest one.
    """

    offset: Sigmas = 3.0
    share: Share = 1.0
    samples: Number = 0
    of: Literal["return", "price"] = "return"


class MeanShift(ValueAttack):
    """Mean-shift poisoning (DEFINITIONS 11): fraction eps of the samples, offset delta.

    The mean of what is learned, the return, moves by eps x delta and its variance by
    eps (1 - eps) delta^2. A price that is off by a constant (of=price) hardly moves a return.
    """

    name = "mean_shift"
    summary = "moves its returns by a constant offset in a share of the frames"
    Told = MeanShiftParameters
    parameters: MeanShiftParameters

    def __init__(self, catalog: Catalog, parameters: MeanShiftParameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._counted = 0  # frames looked at
        self._poisoned = 0  # of those

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        what = "mids" if told.of == "price" else "returns"
        most = f", {told.samples} frames at most" if told.samples else ""
        return f"{what} {self.size(told.offset)} off in {told.share:.0%} of the frames{most}"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """The offset in chosen frames, none in others; of returns, all offsets so far."""
        told = self.parameters
        first = min(self._counted, int(frame[0]))
        frames = np.arange(first, int(frame[-1]) + 1)
        chosen = uniforms(self.key, frames) < told.share
        counts = self._poisoned - int(chosen[: self._counted - first].sum()) + np.cumsum(chosen)
        self._poisoned, self._counted = int(counts[-1]), int(frame[-1]) + 1
        most = told.samples or np.inf
        if told.of == "return":
            return np.asarray(told.offset * np.minimum(counts, most)[frame - first], np.float64)
        poisoned = (chosen & (counts <= most))[frame - first]
        return np.where(poisoned, told.offset, 0.0)


class DataPoisoningParameters(MeanShiftParameters, frozen=True):
    """As of MeanShift, of prices."""

    of: Literal["return", "price"] = "price"


class DataPoisoning(MeanShift):
    """So many false quotes: the price is off in some frames, and true again in the others."""

    name = "data_poisoning"
    summary = "moves its mids by a constant offset in a share of the frames"
    Told = DataPoisoningParameters


class SlowDriftParameters(Parameters, frozen=True):
    """Of SlowDrift.

    Attributes:
        speed: sigmas a minute.
        limit: sigmas at which it stays; 0 is no limit.
    """

    speed: Sigmas = 1.0
    limit: AtLeastZero = 0.0


class SlowDrift(ValueAttack):
    """The boiling frog (Rubinstein et al. 2009): every step passes a relative gate."""

    name = "slow_drift"
    summary = "moves its mids away at a constant, small speed"
    Told = SlowDriftParameters
    parameters: SlowDriftParameters

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        limit = f", up to {self.size(told.limit)}" if told.limit else ""
        return f"mids drift by {self.size(told.speed)} a minute{limit}"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """Speed times time, in steps of a frame."""
        told = self.parameters
        offset = told.speed * (frame + 1) * (self.frame_ns / 60e9)
        limit = told.limit or np.inf
        return np.asarray(np.clip(offset, -limit, limit), np.float64)


class CollusionParameters(Parameters, frozen=True):
    """Of ColludingSources.

    Attributes:
        members: how many sources, the catalog's last, where none is named.
        offset: sigmas by which all move together.
        noise: standard deviation, in sigmas, of what they add to it together, anew each frame.
    """

    members: Annotated[int, Meta(ge=1)] = 2
    offset: Sigmas = 3.0
    noise: AtLeastZero = 0.5


class ColludingSources(ValueAttack):
    """Several sources with one story: their residuals are correlated, their median is wrong."""

    name = "colluding_sources"
    summary = "several sources move their mids together"
    Told = CollusionParameters
    parameters: CollusionParameters

    def _how_many(self) -> int:
        return self.parameters.members

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        return f"mids {self.size(told.offset)} off together, with {told.noise:g} sigma of noise"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """One offset per frame and asset, the same for every member."""
        told = self.parameters
        group = self._shadow.books["group"][
            self._shadow.book_of[rows["instrument"], rows["source"]]
        ]
        return told.offset + told.noise * normals(self.key, frame, group)


class OutlierBurstParameters(Parameters, frozen=True):
    """Of OutlierBurst.

    Attributes:
        count: frames in a row.
        magnitude: sigmas, either way.
    """

    count: Annotated[int, Meta(ge=1)] = 10
    magnitude: AtLeastZero = 50.0


class OutlierBurst(ValueAttack):
    """Far-off values in a few frames."""

    name = "outlier_burst"
    summary = "says far-off mids for a few frames"
    Told = OutlierBurstParameters
    parameters: OutlierBurstParameters

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        return f"mids {self.size(told.magnitude)} off, up or down, in {told.count} frames"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """A sign per frame."""
        told = self.parameters
        sign = np.where(uniforms(self.key, frame) < 0.5, -1.0, 1.0)
        return np.where(frame < told.count, sign * told.magnitude, 0.0)


class QuoteNoiseParameters(Parameters, frozen=True):
    """Of QuoteNoise.

    Attributes:
        intensity: standard deviation of the noise, in sigmas.
    """

    intensity: AtLeastZero = 5.0


class QuoteNoise(ValueAttack):
    """An honest mean, and far more noise than the market has."""

    name = "quote_noise"
    summary = "adds noise to its mids, anew each frame"
    Told = QuoteNoiseParameters
    parameters: QuoteNoiseParameters

    def detail(self) -> str:
        """What is done."""
        return f"noise of {self.size(self.parameters.intensity)} on the mids"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """A normal draw per frame and instrument."""
        draws = normals(self.key, frame, rows["instrument"], rows["source"])
        return self.parameters.intensity * draws


class RandomParameters(Parameters, frozen=True):
    """Of RandomValues.

    Attributes:
        bound: sigmas.
    """

    bound: AtLeastZero = 20.0


class RandomValues(ValueAttack):
    """Values at random."""

    name = "random"
    summary = "draws its mids at random within a bound, anew each frame"
    Told = RandomParameters
    parameters: RandomParameters

    def detail(self) -> str:
        """What is done."""
        return f"mids anywhere within {self.size(self.parameters.bound)}"

    def offsets(self, frame: Frames, rows: NDArray[Any]) -> Floats:
        """A uniform draw per frame and instrument."""
        draws = uniforms(self.key, frame, rows["instrument"], rows["source"])
        return self.parameters.bound * (2.0 * draws - 1.0)


class Silence(StoryAttack):
    """A source that goes away without a word; when it comes back, it sends its whole book."""

    name = "silence"
    summary = "sends nothing"

    def detail(self) -> str:
        """What is done."""
        return "nothing is sent"

    def wishes(self, rows: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
        """Nothing while the attack lasts."""
        wishes = np.where(self.during(rows), rewriting.MUTE, rewriting.TRUE)
        return wishes.astype(np.int64), np.full(len(rows), np.nan)


class FrozenFeed(StoryAttack):
    """A stale feed that looks alive: the same book again in each frame, freshly numbered."""

    name = "frozen_feed"
    summary = "repeats its last book once a frame, with fresh times and numbers, and no trades"

    def detail(self) -> str:
        """What is done."""
        return "the last book is repeated"

    def wishes(self, rows: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
        """Frozen while the attack lasts."""
        wishes = np.where(self.during(rows), rewriting.FROZEN, rewriting.TRUE)
        return wishes.astype(np.int64), np.full(len(rows), np.nan)
