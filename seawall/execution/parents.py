"""Parent orders that are being worked: a fold over the journal."""

from typing import Any

import msgspec

from seawall.core.errors import InvariantError
from seawall.core.intents import Approved
from seawall.core.parents import Parent
from seawall.core.records import AnyRecord, IntentApproved, ParentBegan, ParentEnded

Place = tuple[str, str]  # instrument and strategy: each has one parent at most


class _Memory(msgspec.Struct):
    """What the fold keeps."""

    open: list[Parent]
    approvals: list[Approved]
    begun: int


class Parents:
    """The open parents, and what risk approved last of each strategy, the newest last; Fold."""

    name = "parents"

    def __init__(self) -> None:
        self.open: dict[Place, Parent] = {}
        self.approvals: dict[Place, Approved] = {}
        self.begun = 0  # parents ever begun; their ids count on from here

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        match record:
            case IntentApproved(approved=approved):
                place = approved.instrument, approved.intent.strategy
                self.approvals.pop(place, None)
                self.approvals[place] = approved
            case ParentBegan(parent=parent):
                place = parent.instrument, parent.strategy
                if place in self.open:
                    raise InvariantError(
                        f"parent order {parent.parent_id} begins while "
                        f"{self.open[place].parent_id} is being worked"
                    )
                self.open[place] = parent
                self.begun += 1
            case ParentEnded(parent_id=name):
                at = [place for place, parent in self.open.items() if parent.parent_id == name]
                if not at:
                    raise InvariantError(f"parent order {name} ends and is not being worked")
                del self.open[at[0]]

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(
            _Memory(list(self.open.values()), list(self.approvals.values()), self.begun)
        )

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        memory = msgspec.convert(state, _Memory)
        self.open = {(p.instrument, p.strategy): p for p in memory.open}
        self.approvals = {(a.instrument, a.intent.strategy): a for a in memory.approvals}
        self.begun = memory.begun
