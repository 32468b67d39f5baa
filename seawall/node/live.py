"""A node that trades real accounts: live markets, real exchanges, everything synced to disk."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seawall.core.clock import SystemClock
from seawall.core.errors import SettingError, VenueError
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.ports import Commands, Publisher, Secrets
from seawall.core.settings import Settings
from seawall.node.assembly import build, run_id
from seawall.node.division import divided_of

if TYPE_CHECKING:
    from seawall.ingestion.live import LiveFeed
    from seawall.node.node import Node
    from seawall.venues.ccxt.client import Account
    from seawall.venues.ccxt.preflight import Finding
    from seawall.venues.ccxt.venue import CcxtVenue

LOOKS = 60.0  # seconds that the preflight of one account may take
FEED_TIMEOUT = 30.0


def accounts_of(settings: Settings) -> "dict[str, Account]":
    """What is traded, by the account's name; the only one has none.

    Raises:
        SettingError: no exchange is named, two are the same wallet, or money of one is real and
            that of another is not.
    """
    from seawall.venues.ccxt.client import Account

    found = {}
    wallets: dict[tuple[str, ...], str] = {}
    for name, given in settings.live_accounts().items():
        keys = given.keys or given.exchange
        account = found[name] = Account(
            exchange=given.exchange,
            product=given.product,
            keys=keys,
            url=given.url,
            network=given.network,
            tls=given.tls,
        )
        wallet = (account.client_name, keys, given.network, given.url)
        if wallet in wallets:
            raise SettingError(
                f"accounts {wallets[wallet]} and {name} are one and the same at "
                f"{account.exchange}: both have the keys {keys}; give one of them keys of another "
                "account with live.keys, or make them one"
            )
        wallets[wallet] = name
    stakes = {name: stake_of(each) for name, each in found.items()}
    if len({*stakes.values()}) > 1:
        said = ", ".join(f"{name}: {stake or 'real money'}" for name, stake in stakes.items())
        raise SettingError(
            "the limits go by the sum of all accounts, so none may play beside real ones "
            f"({said}); run them apart"
        )
    return found


def account_of(settings: Settings) -> "Account":
    """The only account of these settings, or of one division of theirs."""
    (account,) = accounts_of(settings).values()
    return account


def stake_of(account: "Account") -> str:
    """What stands in for real money; empty where that is real."""
    return "practice" if account.url else "testnet" if account.network == "testnet" else ""


def folder_of(settings: Settings) -> Path:
    """Where the journal, the tape and the logs of a run with these accounts lie."""
    accounts = accounts_of(settings)
    account = next(iter(accounts.values()))
    name = "accounts" if settings.accounts else f"{account.exchange}-{account.product}"
    stake = "-testnet" if account.network == "testnet" else ""
    return settings.data_dir / f"live-{name}{stake}{'-practice' if account.url else ''}"


def feed_of(
    settings: Settings, accounts: "Mapping[str, Account]", clock: SystemClock, secrets: Secrets
) -> "LiveFeed":
    """Market data of the accounts' exchanges, and of the others unless these are practice ones."""
    from seawall.ingestion.live import LiveFeed
    from seawall.venues.ccxt.client import Credentials

    entries: dict[tuple[str, str], Any] = {}
    for account in accounts.values():
        own = entries.setdefault(
            (account.exchange, account.url), {"name": account.exchange, "kinds": set()}
        )
        own["kinds"].add(account.product)
        if account.url:
            own["practice"] = account.url
        if account.terms.private_data and "credentials" not in own:
            own["credentials"] = Credentials(secrets, account)
    names = [name for name, _ in entries]
    for (name, _), own in entries.items():
        if names.count(name) == 1:
            del own["kinds"]  # else each of its servers is asked for what is traded there
    others = () if any(a.url for a in accounts.values()) else settings.feed.exchanges
    for name in others:
        entries.setdefault((name, ""), {"name": name})
    feed = LiveFeed(
        [*entries.values()],
        settings.feed.symbols,
        clock,
        timeout=FEED_TIMEOUT,
        seed=settings.seed,
        decimals=max(account.terms.decimals for account in accounts.values()),
    )
    missing = {*names} - {i.venue for i in feed.catalog.instruments}
    if missing:
        feed.close()
        raise VenueError(f"{min(missing)} sends no market data: {'; '.join(feed.notes)}")
    return feed


def instruments_of(
    settings: Settings, catalog: Catalog, accounts: "Mapping[str, Account]"
) -> dict[str, list[Instrument]]:
    """What each account can trade of what the feed lists.

    Raises:
        SettingError: there is nothing, or it is to trade what is not of its exchange.
    """
    if not settings.accounts:
        (account,) = accounts.values()
        found = {"": [i for i in catalog.instruments if _is_of(i, account)]}
    else:
        divided = divided_of(settings, catalog)
        found = {name: list(division.instruments) for name, division in divided.items()}
    for name, account in accounts.items():
        market = f"the {account.product} market of {account.exchange}"
        strange = [i.name for i in found[name] if not _is_of(i, account)]
        if strange:
            raise SettingError(
                f"accounts: {name} is to trade {strange[0]}, which is not of {market}; leave it "
                "out, or set live.exchange and live.product below [accounts.live]"
            )
        if not found[name]:
            example = "BTC/USDT" if account.product == "spot" else "BTC/USDT:USDT"
            raise SettingError(f"feed.symbols has nothing of {market}; add one, such as {example}")
    return found


def _is_of(instrument: Instrument, account: "Account") -> bool:
    return instrument.venue == account.exchange and instrument.kind is Kind(account.product)


def open_venue(
    settings: Settings,
    account: "Account",
    secrets: Secrets,
    instruments: Sequence[Instrument],
    clock: SystemClock,
    log: Path,
    after: int,
) -> "CcxtVenue":
    """The account, opened. Errors as CcxtVenue has them."""
    from seawall.venues.ccxt.venue import CcxtVenue

    return CcxtVenue(
        account,
        secrets,
        instruments,
        clock,
        log,
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
    """A node on real accounts, after a preflight of each without a STOP.

    Args:
        stack: closes the accounts when the run is over.

    Raises:
        SettingError, VenueError, FeedError, StoreError: it cannot be traded as it is.
    """
    from seawall.ingestion.tape import TapeWriter
    from seawall.storage.journal import Durability, SqliteJournal

    clock = SystemClock()
    accounts = accounts_of(settings)
    with contextlib.ExitStack() as opening:
        feed = feed_of(settings, accounts, clock, secrets)
        opening.callback(feed.close)
        for note in feed.notes:
            say(f"without {note}")
        catalog = feed.catalog
        instruments = instruments_of(settings, catalog, accounts)
        settings = _traded(settings, [i for own in instruments.values() for i in own])
        folder = folder_of(settings)
        journal = SqliteJournal(folder / "journal.sqlite", Durability.SYNCED)
        opening.callback(journal.close)

        def opened(own: Settings, *given: Any) -> "CcxtVenue":
            name = own.accounts[0].name if own.accounts else ""
            venue = _opened(own, name, secrets, instruments[name], clock, *given[-2:])
            opening.callback(venue.close)
            traded = catalog.instruments if not name else instruments[name]
            scope = {a for i in traded for a in (i.base, i.quote, i.settle_asset)}
            venue.scope = frozenset(scope | {venue.account_of.terms.fee_asset} - {""})
            _look(own, name, venue, say)
            return venue

        tape = TapeWriter(folder / f"tape-{run_id(catalog)}", catalog)
        opening.callback(tape.close)
        why = "; ".join(
            f"{name and name + ': '}{account.name} at {account.url or 'the exchange'} with "
            f"{len(instruments[name])} markets"
            for name, account in accounts.items()
        )
        say(f"live: {why}")
        node = build(
            settings,
            catalog,
            feed,
            journal,
            publisher,
            run_id(settings.fingerprint(), clock.now()),
            venue_log=folder / "venue.log",
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


def _opened(
    settings: Settings, name: str, secrets: Secrets, instruments: Sequence[Instrument], *rest: Any
) -> "CcxtVenue":
    """See `open_venue`; an error says whose it is."""
    try:
        return open_venue(settings, account_of(settings), secrets, instruments, *rest)
    except VenueError as error:
        if not name:
            raise
        raise VenueError(f"account {name}: {error}") from None


def _look(settings: Settings, name: str, venue: "CcxtVenue", say: Callable[[str], None]) -> None:
    """Say what the preflight warns of. Raises VenueError where it says stop."""
    from seawall.venues.ccxt.preflight import STOP, WARNING

    whose = f"preflight of {name}" if name else "preflight"
    findings = preflight_of(settings, venue)
    for finding in findings:
        if finding.level == WARNING:
            say(f"{whose}: {finding.look}: {finding.text}")
    if stops := [f for f in findings if f.level == STOP]:
        raise VenueError(f"{whose}: {stops[0].look}: {stops[0].text}")


def _funds(venue: "CcxtVenue") -> dict[str, int]:
    return dict(venue.balances())


def _traded(settings: Settings, instruments: Sequence[Instrument]) -> Settings:
    """The settings with what is decided on: of the accounts' instruments, one of each asset."""
    names = {i.name for i in instruments}
    wanted = settings.decision.instruments
    if foreign := [name for name in wanted if name not in names]:
        raise SettingError(
            f"decision.instruments has {foreign[0]}, which no account trades; there is "
            f"{', '.join(sorted(names))}"
        )
    if not wanted:
        chosen: dict[str, str] = {}
        for instrument in instruments:
            chosen.setdefault(instrument.consensus_group, instrument.name)
        wanted = tuple(chosen.values())
    decision = settings.decision.model_copy(update={"instruments": wanted})
    return settings.model_copy(update={"decision": decision})
