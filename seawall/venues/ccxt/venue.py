"""A real exchange behind the node's ports. Its network lives in a thread of its own.

Orders leave without the path waiting for them, and their answers come over the stream; what the
path must know at once (`Account`) is asked for with a deadline.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from seawall.core.clock import Clock
from seawall.core.errors import (
    OrderRefusedError,
    SeawallError,
    VenueError,
    VenueUnreachableError,
)
from seawall.core.events import Raw
from seawall.core.instruments import Instrument
from seawall.core.orders import Movement, Order, OrderReport, Report, Transfer
from seawall.core.ports import Secrets
from seawall.venues.ccxt.budget import CANCEL, PLACE, Budget
from seawall.venues.ccxt.client import Account, Credentials, client_of, close
from seawall.venues.ccxt.desk import Desk
from seawall.venues.ccxt.errors import said
from seawall.venues.ccxt.link import DEAD_MAN, Link, offset_of, skew_of
from seawall.venues.ccxt.log import VenueLog
from seawall.venues.ccxt.preflight import Expected, Finding, Preflight
from seawall.venues.ccxt.transfers import transfers

_T = TypeVar("_T")
MOST_REQUESTS = 64  # orders and cancels on their way at once
OPENING = 30.0  # seconds until the exchange must have answered at the start
CLOSING = 5.0


class CcxtVenue:
    """A Venue and (a deaf) Playback in one.

    Args:
        account: which one. secrets: where its keys are.
        instruments: what is traded, all of this account.
        clock: real time. log: the file of what was heard.
        after: the highest report number that the journal knows.
        deadline: seconds that the path waits for an answer at most.
        timeout: seconds after which a request counts as unanswered.
        switch: arm the dead-man's switch where there is one.

    Raises:
        SettingError: no keys, or no such exchange. VenueError: it does not answer, or not to us.
        StoreError: the log cannot be used.
    """

    def __init__(
        self,
        account: Account,
        secrets: Secrets,
        instruments: Sequence[Instrument],
        clock: Clock,
        log: Path,
        after: int = 0,
        *,
        deadline: float = 3.0,
        timeout: float = 10.0,
        switch: bool = True,
    ) -> None:
        self.account_of = account
        self.scope: frozenset[str] | None = None  # assets that count; None: all
        self._credentials = Credentials(secrets, account)
        self._instruments = {i.symbol: i for i in instruments}
        self._clock = clock
        self._path, self._after = log, after
        self._deadline, self._timeout, self._switch = deadline, timeout, switch
        self.budget = Budget(account.terms, clock)
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        self._stopping = False
        self._polled = clock.now()
        self._failure: SeawallError | None = None
        self._loop = asyncio.new_event_loop()
        self._main: asyncio.Task[None] | None = None
        self._opened = threading.Event()
        self.desk: Desk
        self.link: Link
        self._thread = threading.Thread(target=self._run, name=f"venue {account.name}", daemon=True)
        self._thread.start()
        self._opened.wait()
        failure = self._failed()
        if failure is not None:
            self._thread.join()
            raise failure

    @property
    def gateway(self) -> "CcxtVenue":
        return self

    @property
    def account(self) -> "CcxtVenue":
        return self

    @property
    def stream(self) -> "CcxtVenue":
        return self

    def observe(self, rows: Raw, until: int) -> None:
        """See Playback: a real exchange does not live off what we see."""

    # --- orders out ---

    def place(self, order: Order) -> None:
        """See Gateway; returns at once. A refusal here means that nothing was sent."""
        if why := self.link.trouble or self.budget.blocks(PLACE):
            raise OrderRefusedError(f"{self.account_of.name}: not sent: {why}")
        self._send(self.desk.place(order), OrderRefusedError)

    def cancel(self, instrument: str, client_id: str) -> None:
        """See Gateway; returns at once."""
        if why := self.budget.blocks(CANCEL):
            raise VenueUnreachableError(f"{self.account_of.name}: not sent: {why}")
        self._send(self.desk.cancel(client_id, instrument), VenueUnreachableError)

    def replace(self, client_id: str, order: Order) -> None:
        """See Gateway; the new order is sent only where the old one was cancelled for certain."""
        if why := self.link.trouble or self.budget.blocks(PLACE):
            raise OrderRefusedError(f"{self.account_of.name}: not sent: {why}")
        self._send(self.desk.replace(client_id, order), OrderRefusedError)

    # --- what we have there ---

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """See Account; what may still be on its way is SENT, with sequence 0."""
        names = None if client_ids is None else list(client_ids)
        return self._ask(self.desk.orders(names))

    def fills(self, after: int) -> list[Movement]:
        """See Account."""

        async def looked_up() -> list[Movement]:
            for symbol in self._instruments:
                await self.link.trades(symbol)
            return self.desk.log.after(after)

        return self._ask(looked_up())

    def balances(self) -> Mapping[str, int]:
        """See Account; what is outside `scope` is left aside."""
        found = self._ask(self.desk.balances())
        return {a: n for a, n in found.items() if self.scope is None or a in self.scope}

    def positions(self) -> Mapping[str, int]:
        """See Account."""
        return self._ask(self.desk.positions())

    def transfers(self, since: int) -> list[Transfer]:
        """See TransferHistory."""
        return self._ask(transfers(self.desk, since))

    def poll(self, until: int) -> list[Report]:
        """See Stream. A lost user stream is told once: what it missed must be asked for."""
        self._polled = self._clock.now()
        if (failure := self._failed()) is not None:
            raise VenueUnreachableError(str(failure))
        lost, self.link.lost = self.link.lost, ""
        if self.desk.overflowed:
            self.desk.overflowed, lost = False, "more reports came than anybody took"
        if why := self.link.trouble or lost:
            raise VenueUnreachableError(f"{self.account_of.name}: {why}")
        outbox, reports = self.desk.outbox, []
        while outbox:
            reports.append(outbox.popleft())
        return reports

    def decimals(self, asset: str) -> int:
        """Of an asset's smallest unit, as `balances` counts it."""
        return self.desk.decimals(asset)

    def preflight(self, expected: Expected, wait: float) -> list[Finding]:
        """All looks at the account, within `wait` seconds; the path does not call this.

        Raises:
            VenueUnreachableError: they took longer.
        """
        secrets = tuple(self._credentials.texts)
        looks = Preflight(self.account_of, self.desk, self._clock, expected, secrets)
        return self._ask(looks.run(), wait)

    def close(self) -> None:
        """Disarm the dead-man's switch and close all connections, within five seconds."""
        self._stopping = True
        with contextlib.suppress(VenueUnreachableError):
            self._ask(self.link.disarm(), CLOSING / 2)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(CLOSING)

    def __repr__(self) -> str:
        return f"CcxtVenue({self.account_of.name})"

    # --- across the threads ---

    def _send(self, coroutine: Coroutine[Any, Any, Any], full: type[VenueError]) -> None:
        """Let a request run by itself, where there is room for one."""
        if not self._room.acquire(blocking=False):
            coroutine.close()
            raise full(f"{self.account_of.name}: not sent: {MOST_REQUESTS} requests wait already")
        try:
            task = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            self._room.release()
            raise full(f"{self.account_of.name}: not sent: the connection is closed") from None
        task.add_done_callback(lambda _: self._room.release())

    def _ask(self, coroutine: Coroutine[Any, Any, _T], wait: float | None = None) -> _T:
        """Wait for an answer, but not beyond the deadline."""
        name = self.account_of.name
        wait = self._deadline if wait is None else wait
        try:
            task = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise VenueUnreachableError(f"{name}: the connection is closed") from None
        try:
            return task.result(wait)
        except concurrent.futures.TimeoutError:
            task.cancel()
            self.link.missed()
            raise VenueUnreachableError(f"{name}: no answer in {wait:g} s") from None
        except concurrent.futures.CancelledError:
            raise VenueUnreachableError(f"{name}: the connection is closed") from None
        except VenueUnreachableError:
            raise
        except SeawallError as error:
            raise VenueUnreachableError(f"{name}: {error}") from None
        except Exception as error:  # noqa: BLE001  ccxt raises what it likes
            text = said(error, self._credentials.texts)
            raise VenueUnreachableError(f"{name}: {text}") from None

    # --- the network's thread ---

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._main = self._loop.create_task(self._live())
            self._loop.run_until_complete(self._main)
        except asyncio.CancelledError:
            pass
        except SeawallError as failure:
            self._failure = failure
        except Exception as error:  # noqa: BLE001  a thread cannot raise; whoever polls will
            self._failure = self._refusal(_first(error))
        finally:
            self._loop.run_until_complete(self._sweep())
            self._loop.close()
            self._opened.set()

    def _refusal(self, error: BaseException) -> VenueError:
        """Why the account could not be opened, or was lost, in a line."""
        name, text = self.account_of.name, said(error, self._credentials.texts)
        if "AuthenticationError" in [kind.__name__ for kind in type(error).__mro__]:
            return VenueError(
                f"{name} does not accept the API key or its secret ({text}); replace them with "
                f"`seawall keys add {self.account_of.keys}`"
            )
        return VenueError(f"{name}: {text}")

    async def _sweep(self) -> None:
        """Cancel what is left running."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _live(self) -> None:
        """Open the account, then keep it until cancelled."""
        secrets = tuple(self._credentials.texts)
        client = client_of(self.account_of, self._credentials, self._timeout, self.budget.seen)
        try:
            async with asyncio.timeout(OPENING):
                await client.load_markets()
                missing = [s for s in self._instruments if s not in client.markets]
                if missing:
                    raise VenueError(
                        f"{self.account_of.name} does not list {missing[0]}; correct feed.symbols"
                    )
                await self._open(client, secrets)
            self._opened.set()
            await self.link.run()
        except TimeoutError:
            raise VenueError(
                f"{self.account_of.name} has not answered within {OPENING:g} s; check the network"
            ) from None
        finally:
            with contextlib.suppress(AttributeError):
                self.desk.log.close()
            await close(client)

    async def _open(self, client: Any, secrets: tuple[str, ...]) -> None:
        """The log, the desk and its link; the clock is measured before anything is signed."""
        offset = await offset_of(client, self._clock)
        if skew := skew_of(offset, self.account_of.name):
            raise VenueError(skew)
        begun = VenueLog(  # before the first balance is read: what comes later is heard
            self._path, self.account_of.name, self._clock.now() + offset, self._after
        )
        self.desk = Desk(
            self.account_of, client, self._instruments, begun, self.budget, self._clock, secrets
        )
        self.desk.offset = offset
        self.link = Link(
            self.account_of, self.desk, self._clock, self._switch, self._silent, secrets
        )
        await self.desk.balances()  # whether the keys are good is known now, not at the first order
        self.link.answered()

    def _failed(self) -> SeawallError | None:
        return self._failure

    def _silent(self) -> bool:
        """Whether the path has stopped asking: what is open must not be kept alive for it."""
        return self._stopping or self._clock.now() - self._polled > DEAD_MAN // 2

    def _stop(self) -> None:
        if self._main is not None:
            self._main.cancel()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
