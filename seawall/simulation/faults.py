"""What can go wrong outside the node, and what of it goes wrong in one seed.

A seed's faults are drawn at once, kind by kind: leaving some out changes none of the others, which
is what makes a failing list shrink.
"""

from collections.abc import Collection, Sequence

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.randomness import generator

ALL, NONE = "all", "none"
CHANCE = 0.45  # that a kind takes part in a seed: few kinds together go deeper than all at once


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault.

    Attributes:
        group: the port that it comes through.
        mean: of the number of faults in a seed that has any; there is at least one.
        longest: seconds that it lasts at most, 0 where it strikes once.
        about: what happens, for people.
    """

    name: str
    group: str
    mean: float
    longest: float
    about: str


FEED, CLOCK, VENUE, STORE, PROCESS, OPERATOR = (
    "feed",
    "clock",
    "venue",
    "store",
    "process",
    "operator",
)
_KINDS = (
    Kind("gap", FEED, 3.0, 0.5, "messages of a source are missing"),
    Kind("reorder", FEED, 3.0, 0.5, "messages of a source overtake each other"),
    Kind("duplicate", FEED, 3.0, 0.5, "messages of a source come twice"),
    Kind("replay", FEED, 2.0, 1.0, "old messages of a source come again as if they were new"),
    Kind("spike", FEED, 2.0, 1.0, "a source's prices jump by up to 20 % and come back"),
    Kind("wall", FEED, 2.0, 2.0, "one side of a source's books shows a thousand times its size"),
    Kind("crossed", FEED, 2.0, 1.0, "a source's bids stand above its asks"),
    Kind("sequence_jump", FEED, 2.0, 1.0, "a source's sequence numbers jump ahead, then back"),
    Kind("silence", FEED, 2.0, 8.0, "a source says nothing"),
    Kind("blackout", FEED, 1.0, 6.0, "no source says anything; time goes on"),
    Kind("hostile", FEED, 1.0, 12.0, "a source's prices run away by up to 3 %"),
    Kind("source_clock", CLOCK, 2.0, 4.0, "a source's clock steps by up to 6 s, forth or back"),
    Kind("clock_forward", CLOCK, 1.0, 3.0, "our clock jumps ahead by up to 5 s, and is set right"),
    Kind("clock_back", CLOCK, 1.0, 3.0, "our clock is set back by up to 2 s, and is set right"),
    Kind(
        "request_lost", VENUE, 4.0, 0.0, "an order or a cancel never arrives, and no answer comes"
    ),
    Kind("ack_lost", VENUE, 4.0, 0.0, "a request is accepted, but no answer comes"),
    Kind("late_request", VENUE, 3.0, 0.0, "no answer comes, and the order arrives up to 6 s late"),
    Kind("rate_limited", VENUE, 4.0, 0.0, "429: the venue turns a call away"),
    Kind("server_error", VENUE, 4.0, 0.0, "5xx: the venue fails, having done it or not"),
    Kind(
        "query_lost", VENUE, 4.0, 0.0, "a question about orders, fills or balances gets no answer"
    ),
    Kind("outage", VENUE, 1.5, 5.0, "the venue cannot be reached, and trades on"),
    Kind("slow_reports", VENUE, 1.5, 6.0, "reports come up to 4 s late"),
    Kind("fill_hidden", VENUE, 2.0, 3.0, "acknowledgements come, fills are held back"),
    Kind("ack_hidden", VENUE, 2.0, 3.0, "fills come, acknowledgements are held back"),
    Kind("report_lost", VENUE, 4.0, 0.0, "a report never comes"),
    Kind("report_twice", VENUE, 4.0, 0.0, "reports come twice, the second time later"),
    Kind("report_order", VENUE, 4.0, 0.0, "reports come in another order"),
    Kind("stale_account", VENUE, 1.5, 9.0, "balances and positions lag behind the fills"),
    Kind("cancel_rejected", VENUE, 3.0, 0.0, "the venue refuses to cancel an order that is open"),
    Kind("venue_restart", VENUE, 1.0, 3.0, "the venue dies and starts again from its own log"),
    Kind("funding", VENUE, 2.0, 0.0, "holding a perpetual contract costs or brings money"),
    Kind("liquidation", VENUE, 1.0, 0.0, "the venue closes positions that are too large for it"),
    Kind("disk_full", STORE, 1.0, 0.0, "the journal cannot be written until there is room again"),
    Kind("power_loss", STORE, 2.0, 0.0, "the machine dies within a write of the journal"),
    Kind("torn_snapshot", STORE, 1.0, 0.0, "the newest snapshot of the folds is damaged"),
    Kind("kill", PROCESS, 3.0, 0.0, "kill -9 at any call through a port"),
    Kind("kill_recovery", PROCESS, 2.0, 0.0, "kill -9 within the first calls of a new life"),
    Kind("double_kill", PROCESS, 1.0, 0.0, "kill -9, and again as soon as it has started"),
    Kind("ban", OPERATOR, 1.5, 0.0, "an operator bans a source"),
    Kind("unban", OPERATOR, 1.0, 0.0, "an operator lets a source in again"),
    Kind("roll_back", OPERATOR, 1.0, 0.0, "an operator rolls a model back"),
    Kind("reconcile", OPERATOR, 2.0, 0.0, "an operator has the books compared with the venue"),
    Kind("adopt", OPERATOR, 1.0, 0.0, "an operator adopts what the venue has, where all is well"),
    Kind(
        "emergency",
        OPERATOR,
        1.0,
        8.0,
        "an operator stops it all by hand, for a while or for good",
    ),
    Kind("stop", OPERATOR, 1.0, 0.0, "an operator stops the node and starts it again"),
    Kind("flatten", OPERATOR, 1.0, 0.0, "an operator stops the node with all positions closed"),
    Kind("release", OPERATOR, 1.0, 0.0, "the node is restarted with a word to release a breaker"),
)
KINDS = {kind.name: kind for kind in _KINDS}
GROUPS = tuple(dict.fromkeys(kind.group for kind in _KINDS))


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a seed.

    Attributes:
        number: among those of its kind; draws within it are keyed by it.
        at: ns after the market's start from which it is due. span: ns that it lasts, 0: once.
        strength, choice: in [0, 1); what they mean is the kind's own.
    """

    kind: str
    number: int
    at: int
    span: int
    strength: float
    choice: float

    @property
    def name(self) -> str:
        """``kind.number``, by which a replay names it."""
        return f"{self.kind}.{self.number}"

    def pick(self, count: int) -> int:
        """One of `count` by its choice."""
        return min(count - 1, int(self.choice * count))


def kinds_of(text: str) -> tuple[str, ...]:
    """The kinds that ``all``, ``none``, or a list of kinds and groups names, in their order.

    Raises:
        SettingError: there is no such kind or group.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    chosen: set[str] = set()
    for name in names:
        found = {k.name for k in _KINDS if name in (ALL, k.group, k.name)}
        if not found and name != NONE:
            raise SettingError(
                f"--faults: there is no fault {name!r}; known are all, none, the groups "
                f"{', '.join(GROUPS)} and the kinds {', '.join(KINDS)}"
            )
        chosen |= found
    if not names:
        raise SettingError("--faults: name all, none, or some kinds")
    return tuple(kind.name for kind in _KINDS if kind.name in chosen)


def drawn(seed: int, kinds: Collection[str], first: int, last: int) -> list[Fault]:
    """The faults of a seed, by time. first, last: ns after the start between which all of them lie,
    with what they last."""
    found: list[Fault] = []
    for kind in _KINDS:
        random = generator(seed, f"simulation.fault.{kind.name}")
        if random.random() >= CHANCE or kind.name not in kinds:
            continue
        for number in range(max(1, int(random.poisson(kind.mean)))):
            where, length, strength, choice = random.random(4).tolist()
            span = int(kind.longest * SECOND * (0.05 + 0.95 * length * length))
            at = first + int(where * max(0, last - first - span))
            found.append(
                Fault(
                    kind=kind.name,
                    number=number,
                    at=at,
                    span=span if kind.longest else 0,
                    strength=strength,
                    choice=choice,
                )
            )
    return sorted(found, key=lambda fault: (fault.at, fault.name))


def only(faults: Sequence[Fault], names: str) -> list[Fault]:
    """Those of the faults that are named (``kind.number,...``).

    Raises:
        SettingError: the seed has no such fault.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {fault.name for fault in faults}
    strange = [name for name in wanted if name not in known]
    if strange:
        raise SettingError(
            f"--only: this seed has no fault {strange[0]!r}; it has {', '.join(sorted(known))}"
        )
    return [fault for fault in faults if fault.name in wanted]
