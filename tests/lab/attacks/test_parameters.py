"""Attacks made from words: lengths of time, numbers, names, and errors that one can act on."""

import msgspec
import numpy as np
import pytest

from seawall.core.errors import SettingError
from seawall.lab.attacks import ATTACKS, attack_of
from seawall.lab.attacks.catalogue import TYPES
from seawall.lab.attacks.draws import key_of, normals, uniforms
from seawall.lab.attacks.parameters import seconds_of
from tests.lab.attacks.markets import market


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("24h", 86_400), ("30m", 1800), ("1.5s", 1.5), ("250ms", 0.25), ("2d", 172_800), (" 7 ", 7)],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "-1s", "1 year", "nan", "inf", "1e3"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="no length of time"):
        seconds_of(text)


def test_words_become_parameters() -> None:
    catalog = market()[0]
    told = attack_of("data-poisoning", catalog, {"samples": "1000", "offset": "2.0"}).parameters
    assert (told.samples, told.offset, told.share) == (1000, 2.0, 1.0)  # type: ignore[attr-defined]
    washed = attack_of("wash_trading", catalog, {"intensity": "0.05", "duration": "24h"})
    assert washed.parameters.duration == 86_400.0
    assert washed.describe().endswith("5% of the traded volume is washed, from 60 s on for 86400 s")
    stale = attack_of("stale_feed", catalog, {"delay": "500ms", "restamp": "no"}).parameters
    assert (stale.delay, stale.restamp) == (0.5, False)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "words", "what"),
    [
        ("mean_shfit", {}, "no attack 'mean_shfit'; did you mean mean_shift"),
        ("earthquake", {}, "choose from boiling_frog, colluding_sources"),
        ("mean_shift", {"ofset": "1"}, "no parameter 'ofset'; it knows offset, share"),
        ("mean_shift", {"offset": "much"}, "mean_shift: offset is 'much': could not convert"),
        ("mean_shift", {"offset": "nan"}, "not a finite number"),
        ("mean_shift", {"share": "1.5"}, "share is '1.5': expected `float` <= 1.0"),
        ("mean_shift", {"samples": "2.5"}, "samples is '2.5'"),
        ("mean_shift", {"samples": "-1"}, "samples is '-1': expected `int` >= 0"),
        ("mean_shift", {"of": "flow"}, "mean_shift: of is 'flow'"),
        ("silence", {"duration": "soon"}, "duration is 'soon': 'soon' is no length of time"),
        ("stale_feed", {"delay": "2h"}, "delay is '2h': expected `float` <= 600.0"),
        ("stale_feed", {"restamp": "perhaps"}, "restamp is 'perhaps': neither yes nor no"),
        ("layering", {"layers": "11"}, "layers is '11'"),
        ("wash_trading", {"intensity": "1"}, "intensity is '1'"),
    ],
)
def test_wrong_words_are_refused_in_one_line(name: str, words: dict[str, str], what: str) -> None:
    with pytest.raises(SettingError) as caught:
        attack_of(name, market()[0], words)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", TYPES)
def test_defaults_are_in_range_and_documented(kind: type) -> None:
    told = kind.Told
    msgspec.convert(msgspec.to_builtins(told()), told)
    assert kind.summary
    pages = " ".join(str(base.__doc__) for base in told.__mro__[:3])
    for field in told.__struct_fields__:
        assert f"{field}:" in pages or f"{field}," in pages
    assert ATTACKS[kind.name] is kind


def test_draws_belong_to_what_they_are_drawn_for() -> None:
    numbers = np.arange(200_000)
    key = key_of(1, "a")
    one = uniforms(key, numbers)
    assert np.array_equal(one[5:9], uniforms(key, numbers[5:9]))
    assert not np.any(one == uniforms(key_of(2, "a"), numbers))
    assert not np.any(one == uniforms(key_of(1, "b"), numbers))
    assert one.min() > 0.0
    assert one.max() < 1.0
    assert np.histogram(one, 20, (0, 1))[0].std() < 3 * np.sqrt(200_000 / 20)
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.01
    swapped = uniforms(key, numbers[:100], numbers[100:200])
    assert not np.any(swapped == uniforms(key, numbers[100:200], numbers[:100]))
    normal = normals(key, numbers)
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1.0) < 0.01
