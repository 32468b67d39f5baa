"""Settings: who beats whom, and what is said of a wrong one."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from seawall.core.errors import SettingError
from seawall.core.settings import DOCUMENTED, KNOWN, PROFILES, Settings, load


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no seawall.toml of the developer's is read."""
    monkeypatch.chdir(tmp_path)


def file(text: str, name: str = "seawall.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(
    toml: str | None = None,
    flags: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    if toml is not None:
        file(toml)
    with pytest.raises(SettingError) as caught:
        load(None, flags or {}, environment or {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_anything_the_documented_defaults_hold() -> None:
    settings = load(None, {}, {})
    assert settings.mode == "paper"
    assert settings.capital == Decimal(100_000)
    assert settings.risk.max_leverage == 2.0
    assert settings.risk.max_position_size == 0.2
    assert settings.risk.volatility_threshold == 0.60
    assert settings.risk.drawdown_threshold == 0.20
    assert settings.risk.flash_crash_threshold == 0.05
    assert settings == Settings()


def test_the_environment_is_read_only_where_it_is_handed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEED", "5")
    monkeypatch.setenv("SEAWALL_SEED", "5")
    monkeypatch.setenv("MAX_LEVERAGE", "1")
    assert load(None, {}, {}).seed == 0
    assert Settings().seed == 0
    assert Settings().risk.max_leverage == 2.0


# -- precedence ---------------------------------------------------------------------------------

SOURCES = ("flag", "environment", "file", "profile")


@given(st.sets(st.sampled_from(SOURCES)))
def test_a_flag_beats_the_environment_beats_the_file_beats_the_profile(given: set[str]) -> None:
    toml = "profile = 'conservative'\n" if "profile" in given else ""
    toml += "[risk]\nmax_leverage = 1.3\n" if "file" in given else ""
    path = file(toml, "some.toml")
    flags = {"risk.max_leverage": "1.1"} if "flag" in given else {}
    environment = {"MAX_LEVERAGE": "1.2"} if "environment" in given else {}
    expected = {"flag": 1.1, "environment": 1.2, "file": 1.3, "profile": 1.0}
    strongest = next((expected[source] for source in SOURCES if source in given), 2.0)
    settings = load(path, flags, environment)
    assert settings.risk.max_leverage == strongest
    # What only the profile speaks of is not lost beside the others.
    assert settings.risk.drawdown_threshold == (0.10 if "profile" in given else 0.20)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_documented_variables_are_read(name: str) -> None:
    section, field = DOCUMENTED[name].split(".")
    settings = load(None, {}, {name: "0.15"})
    assert getattr(getattr(settings, section), field) == 0.15


def test_every_setting_can_be_given_in_the_environment() -> None:
    defaults = Settings()
    for path in KNOWN.keys() - {"mode"}:
        value: Any = defaults
        for part in path.split("."):
            value = getattr(value, part)
        if value is None:
            continue
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        assert load(None, {}, {"SEAWALL_" + path.upper().replace(".", "__"): text}) == defaults


def test_lists_are_written_with_commas_outside_of_files() -> None:
    file("[feed]\nexchanges = ['kraken']\nsymbols = ['BTC/USD', 'BTC/USDT:USDT']\n")
    settings = load(None, {}, {"SEAWALL_FEED__EXCHANGES": "binance, coinbase"})
    assert settings.feed.exchanges == ("binance", "coinbase")
    assert settings.feed.symbols == ("BTC/USD", "BTC/USDT:USDT")


def test_an_empty_variable_is_not_set() -> None:
    assert load(None, {}, {"MAX_LEVERAGE": "", "SEAWALL_SEED": ""}) == Settings()


def test_variables_of_others_are_none_of_our_business() -> None:
    others = {"KELLY_FRACTION": "9", "SLACK_WEBHOOK": "x", "SEED": "x", "PATH": "/bin"}
    assert load(None, {}, others) == Settings()


def test_a_named_file_is_read_instead_of_the_one_here() -> None:
    file("seed = 1")
    other = file("seed = 2\n[api]\n", "other.toml")
    assert load(None, {}, {}).seed == 1
    assert load(other, {}, {}).seed == 2


def test_a_tape_is_there_to_be_replayed() -> None:
    assert load(None, {"feed.tape": Path("t")}, {}).feed.name == "replay"
    assert load(None, {"feed.tape": "t", "feed.name": "live"}, {}).feed.name == "live"


def test_the_pace_of_a_replay_may_be_the_fastest() -> None:
    file("[feed]\nspeed = 10")
    assert load(None, {}, {}).feed.speed == 10
    assert load(None, {"feed.speed": "max"}, {}).feed.speed is None


# -- profiles -----------------------------------------------------------------------------------


def test_profiles() -> None:
    def risk(name: str) -> tuple[float, ...]:
        limits = load(None, {"profile": name}, {}).risk
        return (
            limits.max_leverage,
            limits.max_position_size,
            limits.drawdown_threshold,
            limits.flash_crash_threshold,
        )

    assert risk("conservative") == (1.0, 0.10, 0.10, 0.03)
    assert risk("balanced") == (2.0, 0.20, 0.20, 0.05)
    assert risk("aggressive") == (2.0, 0.40, 0.20, 0.05)


def test_no_profile_leaves_the_documented_leverage() -> None:
    assert all(values.get("max_leverage", 2.0) <= 2.0 for values in PROFILES.values())


# -- wrong settings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("risk.max_leverage = 5", "risk.max_leverage is 5, allowed is 0.1 to 2.0"),
        ("risk.max_leverage = nan", "risk.max_leverage is nan, allowed is 0.1 to 2.0"),
        ("risk.max_leverage = true", "risk.max_leverage is True, allowed is 0.1 to 2.0"),
        ("seed = true", "seed is True, allowed is a whole number from 0 to"),
        ("seed = 1.5", "seed is 1.5, allowed is a whole number from 0 to"),
        ("capital = 0", "capital is 0, allowed is more than 0 to 1,000,000,000,000"),
        ("capital = inf", "capital is inf, allowed is more than 0 to 1,000,000,000,000"),
        ("profile = 'wild'", "profile is 'wild', allowed is conservative, balanced or aggressive"),
        ("profile = ['wild']", "profile is ['wild'], allowed is conservative, balanced"),
        ("numeraire = 'usd'", "numeraire is 'usd', allowed is auto, or an asset in capitals"),
        ("data_dir = ''", "data_dir is '', allowed is the path of a folder"),
        ("feed.name = 'tape'", "feed.name is 'tape', allowed is auto, live, simulated or replay"),
        ("feed.cadence_ms = 9", "feed.cadence_ms is 9, allowed is a whole number from 10 to 3,6"),
        ("feed.exchanges = []", "feed.exchanges is [], allowed is different names of exchanges"),
        ("feed.exchanges = ['a', 'a']", "feed.exchanges is ['a', 'a'], allowed is different"),
        ("feed.symbols = ['btc']", "feed.symbols is ['btc'], allowed is different symbols in cap"),
        ("feed.speed = 0", "feed.speed is 0, allowed is a factor of real time above 0"),
        ("venue.url = 'http://x'", "venue.url is 'http://x', allowed is \"\" for in this process"),
        ("venue.url = 'tcp:10.0.0.1:1'", 'allowed is "" for in this process, unix:/path or tcp'),
        ("api.port = 65536", "api.port is 65536, allowed is a whole number from 0 to 65,535"),
    ],
)
def test_a_wrong_value_in_the_file(toml: str, expected: str) -> None:
    message = complaint(toml)
    assert message.startswith("seawall.toml: ")
    assert expected in message


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("risk.max_leverag = 1", "risk.max_leverag is no setting; did you mean risk.max_leverage?"),
        ("max_leverage = 1", "max_leverage is no setting; did you mean risk.max_leverage?"),
        ("[rsik]\nmax_leverage = 1", "rsik.max_leverage is no setting; did you mean risk.max_lev"),
        ("api.colour = 1", "api.colour is no setting; known are api.host, api.port"),
        ("qqq = 1", "qqq is no setting; known are profile, seed, data_dir, numeraire, capital,"),
        ("risk = 1", "risk is a section, write its settings below [risk]"),
        ("seed.deep = 1", "seed.deep is no setting; known are profile, seed"),
        ("seed = {}", "seed is {}, allowed is a whole number"),
        ("mode = 'backtest'", "mode is not for you to set: the command sets it"),
        ("seed = ", "is not valid TOML"),
        ("feed.name = 'replay'", "replay needs the folder of a tape: --tape FOLDER or feed.tape"),
        (
            "decision.trend_fast_s = 700",
            "decision.trend_fast_s (700) must be below decision.trend_slow_s (600)",
        ),
    ],
)
def test_a_file_that_makes_no_sense(toml: str, expected: str) -> None:
    message = complaint(toml)
    assert message.startswith("seawall.toml: ")
    assert expected in message


def test_several_wrong_values_are_one_line() -> None:
    assert complaint("seed = -1\napi.port = -1").endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"MAX_LEVERAGE": "abc"}, "environment MAX_LEVERAGE is 'abc', allowed is 0.1 to 2.0"),
        ({"CB_DRAWDOWN_THRESHOLD": "2"}, "environment CB_DRAWDOWN_THRESHOLD is '2', allowed is"),
        ({"SEAWALL_API__PORT": "x"}, "environment SEAWALL_API__PORT is 'x', allowed is a whole"),
        (
            {"SEAWALL_MAX_LEVERAGE": "1"},
            "environment SEAWALL_MAX_LEVERAGE is no setting; did you mean "
            "SEAWALL_RISK__MAX_LEVERAGE?",
        ),
        ({"SEAWALL_KELLY_FRACTION": ".2"}, "environment SEAWALL_KELLY_FRACTION is no setting"),
        ({"SEAWALL_RISK": "{}"}, "environment SEAWALL_RISK is no setting; known are SEAWALL_RISK_"),
        ({"SEAWALL_MODE": "live"}, "environment SEAWALL_MODE is not for you to set"),
        (
            {"MAX_LEVERAGE": "1", "SEAWALL_RISK__MAX_LEVERAGE": "1.5"},
            "environment MAX_LEVERAGE is '1', but SEAWALL_RISK__MAX_LEVERAGE is '1.5'",
        ),
    ],
)
def test_a_wrong_variable(environment: dict[str, str], expected: str) -> None:
    assert complaint(environment=environment).startswith(expected)


def test_a_wrong_flag() -> None:
    assert complaint(flags={"api.port": "x"}).startswith("--port is 'x', allowed is")
    assert complaint(flags={"feed.name": "x"}).startswith("--feed is 'x', allowed is auto, live")
    assert complaint(flags={"data_dir": ""}).startswith("--data-dir is '', allowed is")
    assert complaint(flags={"venue.url": "x"}).startswith("--venue-url is 'x', allowed is")
    assert "nope is no setting" in complaint(flags={"nope": 1})


def test_the_stronger_source_is_the_one_to_blame() -> None:
    assert complaint("seed = 1", {"seed": -1}, {"SEAWALL_SEED": "2"}).startswith("--seed is -1")


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(SettingError, match=r"^nope.toml: there is no such file$"):
        load(Path("nope.toml"), {}, {})
    Path("folder").mkdir()
    with pytest.raises(SettingError, match=r"^folder: cannot be read: "):
        load(Path("folder"), {}, {})
    Path("latin.toml").write_bytes("x = 'é'".encode("latin-1"))
    with pytest.raises(SettingError, match=r"^latin.toml: is not text in UTF-8$"):
        load(Path("latin.toml"), {}, {})


@pytest.mark.parametrize("value", ["sk1ABCDEFGHIJKLMNOP12345", "http://me:pa55@host/", "A9" * 20])
def test_what_looks_like_a_secret_is_not_printed(value: str) -> None:
    for message in (
        complaint(environment={"MAX_LEVERAGE": value}),
        complaint(environment={"SEAWALL_API_KEY": value}),
        complaint(f"binance_api_secret = '{value}'"),
        complaint(f"numeraire = '{value}'"),
    ):
        assert value not in message


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        settings.risk.max_leverage = 1  # type: ignore[misc]


# -- the fingerprint ----------------------------------------------------------------------------


def test_the_fingerprint_tells_settings_that_change_results_from_those_that_do_not() -> None:
    first = load(None, {}, {}).fingerprint()
    assert len(first) == 64
    same: list[dict[str, Any]] = [
        {"data_dir": "elsewhere"},
        {"api.port": 1},
        {"profile": "balanced"},
        {"capital": "100000.00"},
        {"venue.url": "unix:/tmp/venue"},
        {"feed.tape": "here", "feed.name": "auto", "feed.speed": 3},
    ]
    assert {load(None, flags, {}).fingerprint() for flags in same} == {first}
    other = [
        {"seed": 1},
        {"capital": "100000.01"},
        {"profile": "conservative"},
        {"risk.max_leverage": 1.9},
        {"feed.cadence_ms": 999},
        {"mode": "backtest"},
        {"venue.taker_fee_ppm": 501},
    ]
    prints = [load(None, flags, {}).fingerprint() for flags in other]
    assert len({first, *prints}) == len(other) + 1
