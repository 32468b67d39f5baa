"""How a run is divided into accounts: what each trades, its money, its venue, its executor."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seawall.core.clock import TapeClock
from seawall.core.errors import DataError, SettingError
from seawall.core.events import Side
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.money import units
from seawall.core.settings import AccountSettings, Settings
from seawall.node.books import Books

if TYPE_CHECKING:
    from seawall.node.accounts import AccountDesk
    from seawall.node.slippage import Watch
    from seawall.storage.recorder import Recorder
    from seawall.venues.ccxt.venue import CcxtVenue
    from seawall.venues.simulated.client import RemoteVenue
    from seawall.venues.simulated.recorded import RecordedVenue
    from seawall.venues.simulated.venue import SimulatedVenue

    AnyExchange = SimulatedVenue | RemoteVenue | RecordedVenue | CcxtVenue
    Exchange = Callable[
        [Settings, Catalog, dict[str, int], TapeClock, Path | None, int], AnyExchange
    ]


class Division(NamedTuple):
    """What one account is.

    Attributes:
        instruments: that are traded in it. settings: of the run, with its venue and its capital.
    """

    instruments: tuple[Instrument, ...]
    settings: Settings


class Opened(NamedTuple):
    """The accounts, opened.

    Attributes:
        venues: of each. deposits: of each, asset -> smallest units, where its journal is new.
        paid: instruments that their account has the settle asset for.
    """

    venues: "dict[str, AnyExchange]"
    deposits: dict[str, dict[str, int]]
    paid: list[Instrument]


def divided_of(settings: Settings, catalog: Catalog) -> dict[str, Division]:
    """Account -> what it is; one without a name has everything where the settings name none.

    Raises:
        SettingError: the market has not what an account is to trade.
    """
    if not settings.accounts:
        return {"": Division(catalog.instruments, settings)}
    named = {name: one.name for one in settings.accounts for name in one.instruments}
    for name in named.keys() - catalog.by_name.keys():
        raise SettingError(
            f"accounts: {named[name]} is to trade {name}, which the market does not list; it lists "
            f"{', '.join(sorted(catalog.by_name))}"
        )
    takers = [(one.name, *_taken_by(one, settings)) for one in settings.accounts]
    venues = {i.venue for i in catalog.instruments}
    for account, wanted, _ in takers:
        for venue in sorted(wanted - venues):
            raise SettingError(
                f"accounts: {account} is to trade at {venue}, of which the market has nothing; "
                f"it has {', '.join(sorted(venues))}"
            )
    found: dict[str, list[Instrument]] = {one.name: [] for one in settings.accounts}
    for instrument in catalog.instruments:
        suits = [
            n for n, own, kinds in takers if instrument.venue in own and instrument.kind in kinds
        ]
        if instrument.name in named:
            suits = [named[instrument.name]]
        if len(suits) > 1:
            raise SettingError(
                f"accounts: {' and '.join(suits)} would both trade {instrument.name}; name the "
                "instruments of one of them"
            )
        for account in suits:
            found[account].append(instrument)
    divided = {}
    for one in settings.accounts:
        if not found[one.name]:
            raise SettingError(f"accounts: nothing is left for {one.name} to trade")
        own = {
            "accounts": (one,),
            "capital": one.capital,
            "venue": one.within(settings.venue),
            "live": one.live_within(settings.live),
        }
        divided[one.name] = Division(tuple(found[one.name]), settings.model_copy(update=own))
    if foreign := [n for n in settings.decision.instruments if named_in(n, divided) is None]:
        raise SettingError(f"decision.instruments has {foreign[0]}, which no account trades")
    return divided


def _taken_by(one: AccountSettings, settings: Settings) -> tuple[set[str], set[Kind]]:
    """Venues and kinds of markets of which an account has all that no other one has by name."""
    live = one.live_within(settings.live)
    if one.venues:
        return {*one.venues}, {Kind(live.product)} if settings.mode == "live" else {*Kind}
    return set() if one.instruments else {live.exchange} - {""}, {Kind(live.product)}


def named_in(instrument: str, divided: Mapping[str, Division]) -> str | None:
    """The account that an instrument is traded in."""
    for account, division in divided.items():
        if any(each.name == instrument for each in division.instruments):
            return account
    return None


def check_division(divided: Mapping[str, Division], books: Books) -> None:
    """SettingError where the journal was begun with other accounts, whose cash it still has."""
    known = books.ledger.accounts
    if books.tally.runs and bool(known) != bool(books.shares):
        was, now = ("several accounts", "one") if known else ("one account", "several")
        raise SettingError(
            f"accounts: this journal was begun with {was}, and the settings have {now}; set "
            "data_dir to a new folder, or the accounts as they were"
        )
    for account, division in divided.items():
        for instrument in division.instruments:
            before = known.get(instrument.name, account)
            if before != account:
                raise SettingError(
                    f"accounts: {instrument.name} belongs to {before} since this journal began, "
                    f"and now to {account}; leave it there, or set data_dir to a new folder"
                )
    if gone := sorted({*known.values()} - {*divided}):
        raise SettingError(
            f"accounts: this journal has an account {gone[0]}, and the settings have none of that "
            "name; what it holds must stay in the books"
        )


def opened_of(
    catalog: Catalog,
    divided: Mapping[str, Division],
    books: Books,
    clock: TapeClock,
    log: Path | None,
    exchange: "Exchange",
    funds: Callable[[Any], dict[str, int]] | None,
) -> Opened:
    """Open the venue of each account; arguments as for `assembly.build`."""
    found = Opened({}, {}, [])
    for account, (instruments, settings) in divided.items():
        deposits = deposit(settings, instruments) if funds is None else {}
        share = books.shares[account] if account else books
        own = None if log is None else log_of(log, account)
        venue = exchange(settings, catalog, deposits, clock, own, share.orders.sequence)
        if funds is not None:
            deposits = funds(venue)
        found.venues[account] = venue
        found.deposits[account] = deposits
        found.paid.extend(i for i in instruments if i.settle_asset in deposits)
    return found


def log_of(log: Path, account: str) -> Path:
    """The log of an account's exchange, where that of the only one would be `log`."""
    return log.with_name(f"{log.stem}-{account}{log.suffix}") if account else log


def desks_of(
    settings: Settings,
    catalog: Catalog,
    venues: Mapping[str, Any],
    divided: Mapping[str, Division],
    books: Books,
    recorder: "Recorder",
    run: str,
    strategies: Sequence[str],
    watch: "Watch | None",
    shown: Callable[[str, Side], int | None],
) -> "list[AccountDesk]":
    """The accounts on their venues and books; arguments as for `pacing.executor_of`."""
    from seawall.node.accounts import AccountDesk
    from seawall.node.pacing import executor_of

    def desk(account: str, venue: Any) -> "AccountDesk":
        given = (settings, catalog, venue, books, recorder, run, strategies, watch, account)
        share = books.shares[account] if account else books
        names = tuple(each.name for each in divided[account].instruments)
        return AccountDesk(account, executor_of(*given, shown), venue, share, catalog, names)

    return [desk(account, venue) for account, venue in venues.items()]


def deposits_of(settings: Settings, catalog: Catalog) -> dict[str, int]:
    """The capital of the only account; see `deposit`."""
    return deposit(settings, catalog.instruments)


def deposit(settings: Settings, instruments: Sequence[Instrument]) -> dict[str, int]:
    """The capital, in the asset that most spot and linear instruments settle in.

    Instruments that settle in another asset cannot be traded until it is funded.
    """
    paying = [i for i in instruments if i.kind is not Kind.INVERSE]
    if not paying:
        raise DataError(
            "all instruments of this tape settle in coins, and capital is given in money; add a "
            "spot or linear instrument to the tape"
        )
    assets = [i.settle_asset for i in paying]
    asset = max(sorted(set(assets)), key=assets.count)
    decimals = next(i.settle_decimals for i in paying if i.settle_asset == asset)
    try:
        return {asset: units(settings.capital, decimals)}
    except ValueError as error:
        raise SettingError(f"capital is {settings.capital}: {error}") from error


def traded_of(settings: Settings, catalog: Catalog, deposits: Mapping[str, int]) -> list[str]:
    """The instruments of the only account to decide on; see `chosen_of`."""
    paid = [i for i in catalog.instruments if i.settle_asset in deposits]
    return chosen_of(settings, catalog, paid)


def chosen_of(settings: Settings, catalog: Catalog, paid: Sequence[Instrument]) -> list[str]:
    """The instruments to decide on.

    Those of the settings, or one of each asset: the first that the deposit pays for, a derivative
    rather than a spot pair, because it can be sold short.
    """
    unknown = [name for name in settings.decision.instruments if name not in catalog.by_name]
    if unknown:
        raise SettingError(
            f"decision.instruments has {unknown[0]}, which the market does not list; it lists "
            f"{', '.join(sorted(catalog.by_name))}"
        )
    if settings.decision.instruments:
        return list(settings.decision.instruments)
    chosen: dict[str, str] = {}
    for instrument in sorted(paid, key=lambda i: i.kind is Kind.SPOT):
        chosen.setdefault(instrument.consensus_group, instrument.name)
    return list(chosen.values())


def venue_of(
    settings: Settings,
    catalog: Catalog,
    balances: dict[str, int],
    clock: TapeClock,
    log: Path | None,
    after: int,
) -> "SimulatedVenue | RemoteVenue":
    """The simulated exchange, in this process or behind a socket."""
    from seawall.node.exchange import venue_shape
    from seawall.venues.simulated.client import RemoteVenue
    from seawall.venues.simulated.venue import SimulatedVenue

    shape = venue_shape(settings, catalog, balances)
    if settings.venue.url:
        return RemoteVenue(settings.venue.url, catalog, shape, clock, after)
    return SimulatedVenue(catalog, shape, clock, log, after)
