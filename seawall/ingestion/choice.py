"""Which market a run listens to: the live one where it answers, else the simulated one.

What was chosen, and why, is said in one line.
"""

import re
from collections.abc import Callable
from typing import Literal

from seawall.core.errors import FeedError
from seawall.core.ports import Feed

ANSWER_TIMEOUT = 5.0  # seconds

Wanted = Literal["auto", "live", "simulated"]


def choose(
    wanted: Wanted,
    make_live: Callable[[float], Feed],
    make_simulated: Callable[[], Feed],
    timeout: float = ANSWER_TIMEOUT,
) -> tuple[Feed, str]:
    """Open a feed.

    Args:
        wanted: `auto` takes the live market if an exchange answers in time.
        make_live: opens the live feed within the given seconds or raises FeedError.
        make_simulated: opens the simulated one.
        timeout: seconds that the exchanges have to answer.

    Returns:
        The feed, and one line that says which it is and why.

    Raises:
        FeedError: `live` was wanted and no exchange answered.
    """
    if wanted == "simulated":
        return make_simulated(), "simulated market: chosen by --feed simulated"
    try:
        feed = make_live(timeout)
    except FeedError as failure:
        if wanted == "live":
            raise
        return make_simulated(), f"simulated market: {reason(failure)}"
    names = ", ".join(source.name for source in feed.catalog.sources)
    why = "chosen by --feed live" if wanted == "live" else f"answered within {timeout:g} s"
    return feed, f"live market: {names} ({why})"


def reason(failure: FeedError) -> str:
    """What failed and who did not answer; what each exchange said is told by `--feed live`."""
    what, _, words = str(failure).removeprefix("live feed: ").split("; ", 1)[0].partition(" (")
    names = re.findall(r"(?:^|, )(\w+): ", words)
    return f"{what} ({', '.join(names)})" if names else what
