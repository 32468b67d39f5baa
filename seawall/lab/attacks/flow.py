"""Attacks on what a source says of trades and orders: washed trades, shown orders, wrong labels."""

from typing import Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.events import EventKind, Side
from seawall.core.instruments import Catalog
from seawall.lab.attacks import flow_kernels as kernels
from seawall.lab.attacks.attack import Attack, driven
from seawall.lab.attacks.draws import uniforms
from seawall.lab.attacks.parameters import Parameters, Share, length_of


class WashTradingParameters(Parameters, frozen=True):
    """Of WashTrading.

    Attributes:
        intensity: share of the source's traded volume, with it, that is washed.
    """

    intensity: Annotated[float, Meta(ge=0.0, le=0.9, extra={"unit": "share"})] = 0.3


class WashTrading(Attack):
    """A buy and a sell of one round size, at the touch of its own book; no price moves."""

    name = "wash_trading"
    summary = "adds pairs of trades of round sizes at its touch"
    Told = WashTradingParameters
    parameters: WashTradingParameters

    def __init__(self, catalog: Catalog, parameters: WashTradingParameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._shadow = self.new_shadow()
        self._washes = np.zeros(len(catalog.books), kernels.WASH)

    def detail(self) -> str:
        """What is done."""
        return f"{self.parameters.intensity:.0%} of the traded volume is washed"

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own trades are numbered on, and pairs come after them."""
        share = self.parameters.intensity
        ratio = share / (1.0 - share)
        active = self.during(rows)
        draws = np.zeros(len(rows))
        where = np.flatnonzero(self.own(rows) & active & (rows["kind"] == EventKind.TRADE))
        mine = rows[where]
        draws[where] = uniforms(self.key, mine["source"], mine["instrument"], mine["sequence"])
        return driven(
            rows,
            lambda at, out: kernels.run_wash(
                self._shadow, self._washes, rows, at, ratio, active, draws, out
            ),
        )


class SpoofingParameters(Parameters, frozen=True):
    """Of Spoofing and Layering.

    Attributes:
        intensity: size of each order, in mean sizes of the honest best five levels.
        lifetime: seconds on one side, then the orders go to the other.
        distance: how many occupied prices behind the touch the first order stands.
        layers: orders at once.
    """

    intensity: Annotated[float, Meta(ge=0.0, le=1e6)] = 10.0
    lifetime: Annotated[float, Meta(ge=0.001, extra={"unit": "s"})] = 5.0
    distance: Annotated[int, Meta(ge=1, le=20)] = 2
    layers: Annotated[int, Meta(ge=1, le=kernels.LAYERS)] = 1


class LayeringParameters(SpoofingParameters, frozen=True):
    """As of Spoofing, with smaller orders and more of them."""

    intensity: Annotated[float, Meta(ge=0.0, le=1e6)] = 3.0
    distance: Annotated[int, Meta(ge=1, le=20)] = 1
    layers: Annotated[int, Meta(ge=1, le=kernels.LAYERS)] = 4


class Spoofing(Attack):
    """A large order behind the touch of one side, gone before anybody could trade with it."""

    name = "spoofing"
    summary = "shows a large order behind one side's touch, then the other's; it never trades"
    Told = SpoofingParameters
    parameters: SpoofingParameters

    def __init__(self, catalog: Catalog, parameters: SpoofingParameters, seed: int = 0) -> None:
        super().__init__(catalog, parameters, seed)
        self._shadow = self.new_shadow()
        self._spoofs = np.zeros(len(catalog.books), kernels.SPOOF)

    def detail(self) -> str:
        """What is done."""
        told = self.parameters
        orders = "an order" if told.layers == 1 else f"{told.layers} orders"
        return (
            f"{orders} of {told.intensity:g} times a level's size behind one side's touch, "
            f"behind the other's after {length_of(told.lifetime)}"
        )

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own depth messages carry the orders."""
        told = self.parameters
        turn = (rows["recv_ts"] - self.start) // round(told.lifetime * SECOND)
        sides = np.where(self.during(rows), turn % 2, -1).astype(np.int64)
        return driven(
            rows,
            lambda at, out: kernels.run_spoof(
                self._shadow,
                self._spoofs,
                rows,
                at,
                sides,
                told.distance,
                told.layers,
                told.intensity,
                out,
            ),
        )


class Layering(Spoofing):
    """Several orders, one behind the other."""

    name = "layering"
    summary = "shows orders on several levels of one side, then the other; they never trade"
    Told = LayeringParameters


class LabelFlippingParameters(Parameters, frozen=True):
    """Of LabelFlipping.

    Attributes:
        share: share of the trades.
    """

    share: Share = 0.3


class LabelFlipping(Attack):
    """Buys said to be sells: what learns from the aggressor's side learns the wrong thing."""

    name = "label_flipping"
    summary = "swaps the aggressor's side of a share of its trades"
    Told = LabelFlippingParameters
    parameters: LabelFlippingParameters

    def detail(self) -> str:
        """What is done."""
        return f"{self.parameters.share:.0%} of the trades with the wrong aggressor"

    def transform(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Own trades, those whose draw says so."""
        trades = (rows["kind"] == EventKind.TRADE) & (rows["side"] < Side.UNKNOWN)
        where = np.flatnonzero(self.own(rows) & self.during(rows) & trades)
        mine = rows[where]
        draws = uniforms(self.key, mine["source"], mine["instrument"], mine["sequence"])
        made = rows.copy()
        made["side"][where] ^= (draws < self.parameters.share).astype(np.uint8)
        return made
