import hashlib
import re
from pathlib import Path

import pytest

from benchmarks.peers import hftbacktest_compare
from seawall.ingestion.binance import read_sets
from seawall.ingestion.tape import write_tape
from seawall.venues.simulated.exact import feed_of
from tests.venues.simulated.exact_markets import catalog, tape

PAGE = Path(__file__).parents[2] / "docs" / "exact-venue.md"


def test_the_strategy_of_the_page_runs_as_it_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    second = 1_000_000_000
    told = [(second, "bid", 99, 5), (second, "ask", 101, 5)]
    for k in range(1, 40):
        what, price = ("sold", 99) if k % 2 else ("bought", 101)
        told.append((second + k * second // 4, what, price, 9))
    write_tape(tmp_path / "tape" / "night", catalog(), tape(*told))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "exact-venue.md", "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    fills = int(said.split()[0])
    assert fills > 10
    assert re.fullmatch(r"\d+ fills, equity -?\d+\n", said)


# What hftbacktest 2.4.4 fills with the same strategies (benchmarks/peers/hftbacktest.md):
# fills, and SHA-256 over their sorted (exchange time, side, price).
HFTBACKTEST = {
    ("usdm_btcusdt_20240808", "touch", 500_000, 500_000): (470, "266ea06e4370de2c"),
    ("usdm_btcusdt_20240808", "grid", 5_000_000, 20_000_000): (903, "2ced259a9ae185e4"),
    ("usdm_ethusdt_20240808", "grid", 80_000_000, 3_000_000): (925, "8b3bcd1c78c79580"),
    ("usdm_btcusdt_20240718", "grid", 500_000, 500_000): (440, "87531c9b27d5a3ec"),
    ("cm_btcusd_perp_20240808", "touch", 5_000_000, 20_000_000): (624, "80e4868ff2b6b8b4"),
    ("spot_btcusdt_20240808", "touch", 80_000_000, 3_000_000): (537, "b1cdd683cf16ec2b"),
}


@pytest.mark.recorded
@pytest.mark.slow
@pytest.mark.parametrize(("name", "strategy", "entry", "response"), HFTBACKTEST)
def test_fills_are_those_of_hftbacktest(
    name: str, strategy: str, entry: int, response: int
) -> None:
    paths = hftbacktest_compare.paths_of(name)
    if not paths:
        pytest.skip(f"no recorded set {name} (set RECORDED_DATA)")
    read = read_sets(paths)
    feed = feed_of(read.rows, read.catalog, base_latency_ns=hftbacktest_compare.BASE_LATENCY)
    one = hftbacktest_compare.run_of(strategy, entry, response, "risk-averse", "", 0)
    fills = hftbacktest_compare.one_of_ours(feed, one, "whole").fills
    keys = sorted(hftbacktest_compare.keys(fills).elements())
    digest = hashlib.sha256(repr(keys).encode()).hexdigest()[:16]
    assert (len(keys), digest) == HFTBACKTEST[name, strategy, entry, response]
