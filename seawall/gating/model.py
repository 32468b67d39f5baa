"""The adaptive model of each group, its checkpoints, and the fold that brings both back.

Each change is one record that holds the whole model, so a crash leaves the old or the new one.
"""

from collections import deque
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import HOUR, MINUTE
from seawall.core.consensus import WIDTH
from seawall.core.records import AnyRecord, ModelRolledBack, ModelUpdated, ReferenceMade
from seawall.gating.reference import Reference

Array = NDArray[np.float64]
DAY = 24 * HOUR
CHECKPOINT = 5 * MINUTE
CHECKPOINTS = 20


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What has been learned of one group, in its reference's units.

    Attributes:
        ts: ns UTC of the review that made it. origin: of the first. updates: learned so far.
        mean: (WIDTH,) location. covariance: (WIDTH, WIDTH) MRCD scatter, row by row.
        anchor, anchor_bound: the reference's location after its metered walk, and how far the clean
            run's may lie from it. walked: per axis since `day` (number of the UTC day).
        scatter, scatter_bound: the same for the reference's covariance.
        bound: (WIDTH,) the certificate's, for `mean`. envelope: (2, WIDTH) where the clean run's
            mean lies whatever it learned. decisions: its part from updates that the
            clean run may have judged otherwise.
    """

    ts: int
    origin: int
    updates: int
    mean: tuple[float, ...]
    covariance: tuple[float, ...]
    anchor: tuple[float, ...]
    anchor_bound: tuple[float, ...]
    walked: tuple[float, ...]
    day: int
    scatter: tuple[float, ...]
    scatter_bound: tuple[float, ...]
    bound: tuple[float, ...]
    envelope: tuple[float, ...]
    decisions: float

    def encoded(self) -> bytes:
        """MessagePack."""
        return msgspec.msgpack.encode(self)


def decoded(data: bytes) -> Model:
    """The model of `Model.encoded`."""
    return msgspec.msgpack.decode(data, type=Model)


def vector(values: tuple[float, ...]) -> Array:
    """(WIDTH,)."""
    return np.array(values)


def matrix(values: tuple[float, ...]) -> Array:
    """(WIDTH, WIDTH)."""
    return np.array(values).reshape(WIDTH, WIDTH)


def plain(array: Array) -> tuple[float, ...]:
    """An array as a flat tuple."""
    return tuple(np.asarray(array, dtype=np.float64).ravel().tolist())


def start(reference: Reference, now: int) -> Model:
    """The model before it has learned anything: the reference itself."""
    zeros = (0.0,) * WIDTH
    return Model(
        ts=now,
        origin=now,
        updates=0,
        mean=plain(reference.mean),
        covariance=plain(reference.shape),
        anchor=plain(reference.mean),
        anchor_bound=zeros,
        walked=zeros,
        day=now // DAY,
        scatter=plain(reference.covariance),
        scatter_bound=(0.0,) * (WIDTH * WIDTH),
        bound=zeros,
        envelope=plain(np.array([reference.mean, reference.mean])),
        decisions=0.0,
    )


class Past(NamedTuple):
    """What the journal has of a group's reviews beside its model.

    Attributes:
        decision, reason: of the last one. certificate: MessagePack, empty where there is none.
        learned: ns UTC of those whose learning is still in the model by itself.
    """

    decision: str
    reason: str
    certificate: bytes
    learned: frozenset[int]


class Shelf:
    """One group's checkpoints: the newest CHECKPOINTS, one each CHECKPOINT ns, oldest first."""

    def __init__(self) -> None:
        self.kept: deque[Model] = deque(maxlen=CHECKPOINTS)

    def keep(self, model: Model) -> None:
        """Take a checkpoint if the last one is old enough."""
        if not self.kept or model.ts - self.kept[-1].ts >= CHECKPOINT:
            self.kept.append(model)

    def before(self, suspicion: int) -> Model | None:
        """The newest one made before `suspicion` (ns UTC); later ones are thrown away as
        poisoned.
        """
        while self.kept and self.kept[-1].ts >= suspicion:
            self.kept.pop()
        return self.kept[-1] if self.kept else None


class _Memory(msgspec.Struct):
    references: dict[str, str] = {}
    made: dict[str, bytes] = {}
    models: dict[str, bytes] = {}
    shelves: dict[str, list[bytes]] = {}


class Models:
    """The models and their checkpoints, as the journal has them; Fold."""

    name = "models"

    def __init__(self) -> None:
        self.current: dict[str, Model] = {}
        self.shelves: dict[str, Shelf] = {}
        self.references: dict[str, str] = {}
        self.made: dict[str, bytes] = {}  # provisional references, gating.golden.pack

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case ModelUpdated(group=group, model=data, reference=reference):
                if self.references.get(group, reference) != reference:
                    self.shelves.pop(group, None)  # measured in other units
                self.references[group] = reference
                self.current[group] = decoded(data)
                self.shelf(group).keep(self.current[group])
            case ReferenceMade(group=group, reference=data):
                self.made[group] = data
            case ModelRolledBack(group=group, model=data, to=to):
                self.shelf(group).before(to + 1)
                self.current[group] = decoded(data)
            case _:
                pass  # nothing else concerns a model

    def shelf(self, group: str) -> Shelf:
        """The group's checkpoints."""
        return self.shelves.setdefault(group, Shelf())

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(
            _Memory(
                dict(self.references),
                dict(self.made),
                {group: model.encoded() for group, model in self.current.items()},
                {g: [m.encoded() for m in shelf.kept] for g, shelf in self.shelves.items()},
            ),
            builtin_types=(bytes,),
        )

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory, builtin_types=(bytes,))
        self.references = dict(memory.references)
        self.made = dict(memory.made)
        self.current = {group: decoded(data) for group, data in memory.models.items()}
        self.shelves = {}
        for group, kept in memory.shelves.items():
            for data in kept:
                self.shelf(group).kept.append(decoded(data))
