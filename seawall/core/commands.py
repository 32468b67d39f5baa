"""What an operator can tell a running node; each is journaled with its place in time."""

import msgspec

BAN, UNBAN, ROLL_BACK = "ban", "unban", "rollback"
RECONCILE, ADOPT = "reconcile", "adopt"
COMMANDS = {  # name → its one argument
    BAN: "source",
    UNBAN: "source",
    ROLL_BACK: "group",
    RECONCILE: "account",
    ADOPT: "account",
}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command.

    Attributes:
        name: of COMMANDS. target: the source, the group or the account. who: for the journal.
    """

    name: str
    target: str
    who: str
