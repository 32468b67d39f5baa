"""What a live run trades, from its settings: one account or several, and each mistake in a line."""

import json
from pathlib import Path

import pytest

from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.settings import Settings, load
from seawall.node.division import divided_of
from seawall.node.live import accounts_of, folder_of, instruments_of

TABLES = """
[live]
exchange = "binance"
deadline_ms = 500

[[accounts]]
name = "left"
capital = 60000

[[accounts]]
name = "right"
capital = 40000
"""
LEFT = '[accounts.live]\nkeys = "left"\n'
RIGHT = '[accounts.live]\nproduct = "linear"\nkeys = "right"\n'


def given(folder: Path, text: str, mode: str = "live") -> Settings:
    file = folder / "s.toml"
    file.write_text(text)
    return load(file, {"mode": mode}, {})


def two(left: str = LEFT, right: str = RIGHT) -> str:
    """Two accounts with these tables."""
    parts = TABLES.partition("capital = 60000\n")
    return f"{parts[0]}{parts[1]}{left}{parts[2]}{right}"


def divided(folder: Path, text: str) -> dict[str, list[str]]:
    """Account → names of what it trades."""
    settings = given(folder, text)
    found = instruments_of(settings, CATALOG, accounts_of(settings))
    return {account: [i.name for i in own] for account, own in found.items()}


def market(venue: str, symbol: str, kind: Kind) -> Instrument:
    base, _, quote = symbol.partition(":")[0].partition("/")
    settle = quote if kind is Kind.LINEAR else ""
    return Instrument(
        venue=venue, symbol=symbol, kind=kind, base=base, quote=quote, settle=settle,
        tick="0.01", lot="0.001", multiplier="1", settle_decimals=8, base_decimals=8,
    )  # fmt: skip


MARKETS = (
    market("binance", "BTC/USDT", Kind.SPOT),
    market("binance", "ETH/USDT", Kind.SPOT),
    market("binance", "BTC/USDT:USDT", Kind.LINEAR),
    market("kraken", "BTC/USDT", Kind.SPOT),
)
CATALOG = Catalog(
    instruments=MARKETS,
    sources=(Source(name="binance", venue="binance"), Source(name="kraken", venue="kraken")),
    books=((0, 0), (1, 0), (2, 0), (3, 1)),
)


def test_each_account_has_what_its_exchange_lists_of_its_product(tmp_path: Path):
    settings = given(tmp_path, two())
    accounts = accounts_of(settings)
    assert {n: (a.exchange, a.product, a.keys) for n, a in accounts.items()} == {
        "left": ("binance", "spot", "left"),
        "right": ("binance", "linear", "right"),
    }
    assert divided(tmp_path, two()) == {
        "left": ["BTC/USDT@binance", "ETH/USDT@binance"],
        "right": ["BTC/USDT:USDT@binance"],
    }
    own = divided_of(settings, CATALOG)["right"].settings
    assert (own.live.deadline_ms, own.live.product, own.capital) == (500, "linear", 40_000)
    assert accounts_of(own) == {"right": accounts["right"]}
    assert folder_of(settings).name == "live-accounts"
    assert folder_of(given(tmp_path, "[live]\nexchange='binance'")).name == "live-binance-spot"


def test_the_same_tables_go_from_paper_to_live(tmp_path: Path):
    paper, live = (given(tmp_path, two(), mode) for mode in ("paper", "live"))
    found = [
        {name: one.instruments for name, one in divided_of(each, CATALOG).items()}
        for each in (paper, live)
    ]
    assert found[0] == found[1]
    again = Settings(**json.loads(paper.canonical()))
    assert divided_of(again, CATALOG).keys() == {"left", "right"}
    assert again.fingerprint() == paper.fingerprint()


def test_two_accounts_at_one_exchange_name_what_each_trades(tmp_path: Path):
    second = LEFT.replace("left", "second")
    with pytest.raises(SettingError, match="left and right would both trade BTC/USDT@binance"):
        divided(tmp_path, two(LEFT, second))
    named = f'instruments = ["ETH/USDT@binance"]\n{second}'
    assert divided(tmp_path, two(LEFT, named)) == {
        "left": ["BTC/USDT@binance"],
        "right": ["ETH/USDT@binance"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"live\.exchange is empty, so a live run has no account to trade; name one that ccxt"),
        (two().replace('exchange = "binance"', ""), r"account left has no live\.exchange"),
        (
            two(LEFT, LEFT),
            "left and right are one and the same at binance: both have the keys left",
        ),
        (
            two(LEFT + 'url = "http://127.0.0.1:8200"\n'),
            r"none may play beside real ones \(left: practice, right: real money\)",
        ),
        (
            two(LEFT, f'instruments = ["BTC/USDT@kraken"]\n{RIGHT}'),
            "right is to trade BTC/USDT@kraken, which is not of the linear market of binance",
        ),
        (two(LEFT, RIGHT + 'exchange = "okx"\n'), "right is to trade at okx, of which the market"),
        (two().replace("left", "account"), "account is no name for one of several"),
    ],
)
def test_a_mistake_is_said_in_a_line(tmp_path: Path, text: str, said: str):
    with pytest.raises(SettingError, match=said):
        divided(tmp_path, text)
