"""What an operator tells a running node: each word is journaled together with what it does at once.

One write for both: no crash leaves a stop that is in the journal and stops nothing.
"""

from collections.abc import Callable

import msgspec

from seawall.core.commands import (
    ADOPT,
    BAN,
    CLOSE,
    COMMANDS,
    EMERGENCY_STOP,
    RECONCILE,
    RELEASE,
    ROLL_BACK,
    UNBAN,
    Command,
)
from seawall.core.errors import SeawallError
from seawall.core.records import AnyRecord, BreakerChanged, OperatorCommanded
from seawall.node.action import Action
from seawall.node.perception import Perception
from seawall.risk.breakers import State
from seawall.storage.recorder import Recorder


class Operator:
    """Does what a person says.

    Args:
        say: tells what came of it; None: nobody listens.
    """

    def __init__(
        self,
        perception: Perception,
        action: Action,
        recorder: Recorder,
        say: Callable[[str], None] | None,
    ) -> None:
        self._perception = perception
        self._action = action
        self._record = recorder.record
        self._say = say

    def obey(self, command: Command, now: int) -> bool:
        """Journal a command and do it; one that cannot be done is journaled too.

        Returns:
            Whether sources or models were judged.
        """
        records: list[AnyRecord] = [_said(command.name, command.target, command.who, now)]
        answer = ""
        try:
            records += self._changes(command, now)
        except SeawallError as error:
            answer = f"{command.name} {command.target}: {error}"
        self._record(*records)
        if command.name == ADOPT:
            answer = self._adopt(command, now)
        if self._say is not None and answer:
            self._say(answer)
        return len(records) > 1 and command.name in (BAN, UNBAN, ROLL_BACK)

    def release(self, name: str, who: str, ts: int) -> None:
        """Close a breaker, all of its keys.

        Raises:
            SeawallError: it is not open, or its cooldown is not over.
        """
        self._record(_said(RELEASE, name, who, ts), *self._closed(name, who, ts))

    def _changes(self, command: Command, now: int) -> list[AnyRecord]:
        """What a command changes at once; SeawallError where it cannot be."""
        name = command.name
        if name == RECONCILE:
            for desk in self._action.accounts.named(command.target):
                desk.compare_due = True
        if name in (RECONCILE, ADOPT):
            return []
        if name == EMERGENCY_STOP:
            tripped = "emergency_close" if command.target == CLOSE else "emergency_stop"
            return [*self._action.books.breakers.trip(tripped, now, command.who)]
        if name == RELEASE:
            return [*self._closed(command.target, command.who, now)]
        gating = self._perception.gating
        orders = {BAN: gating.ban, UNBAN: gating.unban, ROLL_BACK: gating.roll_back}
        # no review to come lies before it: rows may end a silence, whose boundaries are due
        known = max(self._perception.last_ts, gating.reviewed)
        orders[name](command.target, command.who, min(now, known) if known else now)
        self._perception.tell()
        records = [*gating.records]
        gating.records.clear()
        return records

    def _closed(self, name: str, who: str, ts: int) -> list[BreakerChanged]:
        """A breaker's way to CLOSED, for each key that is not; SeawallError as for `release`."""
        breakers = self._action.books.breakers
        stopped = [s.key for s in breakers.status() if s.name == name and s.state != State.CLOSED]
        changes: list[BreakerChanged] = []
        for key in stopped or [""]:
            (change,) = breakers.release(name, key, ts, who)
            changes.append(change)
            if change.state != State.CLOSED:  # through HALF_OPEN
                changes.append(msgspec.structs.replace(change, state=State.CLOSED))
        return changes

    def _adopt(self, command: Command, now: int) -> str:
        try:
            adopted = self._action.adopt(command.who, now, command.target)
        except SeawallError as error:
            return f"{command.name} {command.target}: {error}"
        return f"adopted: {'; '.join(adopted) or 'nothing: the books agree'}"


def _said(command: str, target: str, who: str, ts: int) -> OperatorCommanded:
    return OperatorCommanded(ts=ts, command=command, arguments={COMMANDS[command]: target}, who=who)
