"""A node that trades a real account: live markets, a real exchange, everything synced to disk."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.core.clock import SystemClock
from seawall.core.errors import SettingError, VenueError
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.ports import Commands, Publisher, Secrets
from seawall.core.settings import Settings
from seawall.node.assembly import build, run_id

if TYPE_CHECKING:
    from seawall.ingestion.live import LiveFeed
    from seawall.node.node import Node
    from seawall.venues.ccxt.client import Account
    from seawall.venues.ccxt.preflight import Finding
    from seawall.venues.ccxt.venue import CcxtVenue

LOOKS = 60.0  # seconds that the preflight may take
FEED_TIMEOUT = 30.0
KINDS = {"spot": Kind.SPOT, "linear": Kind.LINEAR}


def account_of(settings: Settings) -> "Account":
    """The account of the settings; SettingError where they name none."""
    from seawall.venues.ccxt.client import Account

    given = settings.live
    if not given.exchange:
        raise SettingError(
            "live.exchange is empty, so there is no account to trade; set it in seawall.toml, for "
            "example to binance"
        )
    return Account(
        exchange=given.exchange,
        product=given.product,
        keys=given.keys or given.exchange,
        symbols=settings.feed.symbols,
        url=given.url,
        network=given.network,
        tls=given.tls,
    )


def folder_of(settings: Settings) -> Path:
    """Where this account's journal, tape and log lie."""
    practice = "-practice" if settings.live.url else ""
    testnet = "-testnet" if settings.live.network == "testnet" else ""
    name = f"live-{settings.live.exchange}-{settings.live.product}{testnet}{practice}"
    return settings.data_dir / name


def feed_of(
    settings: Settings, account: "Account", clock: SystemClock, secrets: Secrets
) -> "LiveFeed":
    """Market data of the account's exchange, and of the others unless it is a practice one."""
    from seawall.ingestion.live import LiveFeed
    from seawall.venues.ccxt.client import Credentials

    others = () if account.url else settings.feed.exchanges
    own: Any = {"name": account.exchange}
    if account.url:
        own["practice"] = account.url
    if account.terms.private_data:
        own["credentials"] = Credentials(secrets, account)
    entries = [own, *({"name": name} for name in others if name != account.exchange)]
    feed = LiveFeed(
        entries,
        settings.feed.symbols,
        clock,
        timeout=FEED_TIMEOUT,
        seed=settings.seed,
        decimals=account.terms.decimals,
    )
    if account.exchange not in {i.venue for i in feed.catalog.instruments}:
        feed.close()
        raise VenueError(f"{account.exchange} sends no market data: {'; '.join(feed.notes)}")
    return feed


def instruments_of(catalog: Catalog, account: "Account") -> list[Instrument]:
    """What the account can trade of what the feed lists."""
    found = [
        i
        for i in catalog.instruments
        if i.venue == account.exchange and i.kind is KINDS[account.product]
    ]
    if not found:
        example = "BTC/USDT" if account.product == "spot" else "BTC/USDT:USDT"
        raise SettingError(
            f"feed.symbols has nothing of the {account.product} market of {account.exchange}; add "
            f"one, such as {example}"
        )
    return found


def open_venue(
    settings: Settings,
    account: "Account",
    secrets: Secrets,
    instruments: Sequence[Instrument],
    clock: SystemClock,
    after: int,
) -> "CcxtVenue":
    """The account, opened. Errors as CcxtVenue has them."""
    from seawall.venues.ccxt.venue import CcxtVenue

    return CcxtVenue(
        account,
        secrets,
        instruments,
        clock,
        folder_of(settings) / "venue.log",
        after,
        deadline=settings.live.deadline_ms / 1000,
        switch=settings.live.dead_man == "armed",
    )


def preflight_of(settings: Settings, venue: "CcxtVenue") -> "list[Finding]":
    """All looks at an opened account."""
    from seawall.venues.ccxt.preflight import Expected

    expected = Expected(
        leverage=settings.risk.max_leverage,
        largest=float(settings.capital) * settings.risk.max_position_size,
        maker_ppm=settings.venue.maker_fee_ppm,
        taker_ppm=settings.venue.taker_fee_ppm,
    )
    return venue.preflight(expected, LOOKS)


def live(
    settings: Settings,
    secrets: Secrets,
    publisher: Publisher,
    say: Callable[[str], None],
    stack: contextlib.ExitStack,
    releases: Sequence[str] = (),
    commands: Commands | None = None,
) -> "Node":
    """A node on a real account, after a preflight without a STOP.

    Args:
        stack: closes the account when the run is over.

    Raises:
        SettingError, VenueError, FeedError, StoreError: it cannot be traded as it is.
    """
    from seawall.ingestion.tape import TapeWriter
    from seawall.storage.journal import Durability, SqliteJournal
    from seawall.venues.ccxt.preflight import STOP, WARNING

    clock = SystemClock()
    account = account_of(settings)
    with contextlib.ExitStack() as opening:
        feed = feed_of(settings, account, clock, secrets)
        opening.callback(feed.close)
        for note in feed.notes:
            say(f"without {note}")
        instruments = instruments_of(feed.catalog, account)
        settings = _traded(settings, instruments)
        folder = folder_of(settings)
        journal = SqliteJournal(folder / "journal.sqlite", Durability.SYNCED)
        opening.callback(journal.close)
        catalog = feed.catalog
        scope = {a for i in catalog.instruments for a in (i.base, i.quote, i.settle_asset)}
        scope |= {account.terms.fee_asset} - {""}

        def opened(*given: Any) -> "CcxtVenue":
            venue = open_venue(settings, account, secrets, instruments, clock, given[-1])
            opening.callback(venue.close)
            venue.scope = frozenset(scope)
            findings = preflight_of(settings, venue)
            for finding in findings:
                if finding.level == WARNING:
                    say(f"preflight: {finding.look}: {finding.text}")
            stops = [f for f in findings if f.level == STOP]
            if stops:
                raise VenueError(f"preflight: {stops[0].look}: {stops[0].text}")
            return venue

        tape = TapeWriter(folder / f"tape-{run_id(catalog)}", catalog)
        opening.callback(tape.close)
        why = f"{account.name} at {account.url or 'the exchange'} with {len(instruments)} markets"
        say(f"live: {why}")
        node = build(
            settings,
            catalog,
            feed,
            journal,
            publisher,
            run_id(settings.fingerprint(), clock.now()),
            real_time=clock,
            tape=tape,
            feed_name="live",
            feed_detail=why,
            say=say,
            releases=releases,
            commands=commands,
            exchange=opened,
            funds=_funds,
        )
        node.perception.market.state.clock["tape"] = tape.rows
        stack.push(opening.pop_all())
        return node


def _funds(venue: "CcxtVenue") -> dict[str, int]:
    return dict(venue.balances())


def _traded(settings: Settings, instruments: Sequence[Instrument]) -> Settings:
    """The settings with what is decided on: of the account's instruments, one of each asset."""
    names = {i.name for i in instruments}
    wanted = settings.decision.instruments
    if foreign := [name for name in wanted if name not in names]:
        raise SettingError(
            f"decision.instruments has {foreign[0]}, which this account does not trade; it trades "
            f"{', '.join(sorted(names))}"
        )
    if not wanted:
        chosen: dict[str, str] = {}
        for instrument in instruments:
            chosen.setdefault(instrument.consensus_group, instrument.name)
        wanted = tuple(chosen.values())
    decision = settings.decision.model_copy(update={"instruments": wanted})
    return settings.model_copy(update={"decision": decision})
