"""What an operator can tell a running node; each is journaled with its place in time."""

import msgspec

BAN, UNBAN, ROLL_BACK = "ban", "unban", "rollback"
COMMANDS = {BAN: "source", UNBAN: "source", ROLL_BACK: "group"}  # name → its one argument


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command.

    Attributes:
        name: of COMMANDS. target: the source or the group. who: for the journal.
    """

    name: str
    target: str
    who: str
