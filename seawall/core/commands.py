"""What an operator can tell a running node; each is journaled with its place in time."""

import msgspec

BAN, UNBAN, ROLL_BACK = "ban", "unban", "rollback"
RECONCILE, ADOPT = "reconcile", "adopt"
EMERGENCY_STOP, RELEASE = "emergency_stop", "release"
KEEP, CLOSE = "keep", "close"  # what an emergency stop does with the positions
EVERY_ACCOUNT = "account"  # the only one, or all of several
COMMANDS = {  # name → its one argument
    BAN: "source",
    UNBAN: "source",
    ROLL_BACK: "group",
    RECONCILE: "account",
    ADOPT: "account",
    EMERGENCY_STOP: "positions",
    RELEASE: "breaker",
}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command.

    Attributes:
        name: of COMMANDS. target: the source, the group, the account, the breaker, or what becomes
            of the positions. who: for the journal.
    """

    name: str
    target: str
    who: str
