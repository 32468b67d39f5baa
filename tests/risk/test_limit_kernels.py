"""The compiled caps are those of `approve`."""

from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.intents import Target
from seawall.risk.limit_kernels import CAPS, NO_CAP, capped
from seawall.risk.limits import Holding, Limits, approve, approved_as

MONEY = st.floats(1e-3, 1e9)


@settings(deadline=None)
@given(
    wanted=MONEY,
    short=st.booleans(),
    shortable=st.booleans(),
    value=st.floats(1e-9, 1e7),
    equity=MONEY,
    lots=st.integers(-1000, 1000),
    same=st.integers(-1000, 1000),
    other=st.integers(-1000, 1000),
    position=st.floats(0.0, 2.0),
    leverage=st.floats(0.0, 4.0),
)
def test_the_same_as_one_by_one(
    wanted, short, shortable, value, equity, lots, same, other, position, leverage
):
    exposure = -wanted if short else wanted
    limits = Limits(position=position, leverage=leverage)
    intent = Target(strategy="s", ts=1, tape=1, expiry=9, instrument="a", exposure=exposure)
    of = {"mark": 1.0, "value": value}
    holdings = {
        "a": Holding(
            asset="A", lots=lots, worst_long=lots, worst_short=lots, shortable=shortable, **of
        ),
        "b": Holding(asset="A", lots=same, worst_long=same, worst_short=same, **of),
        "c": Holding(asset="C", lots=other, worst_long=other, worst_short=other, **of),
    }
    approved, refused = approve([intent], holdings, equity, limits, [], 2)
    taken = abs(same) * value if same else 0.0
    gross = taken + (abs(other) * value if other else 0.0)
    most, cap = capped(
        exposure, value, position * equity - taken, leverage * equity - gross, shortable
    )
    if refused:
        assert most == 0 == lots
        assert cap == NO_CAP or CAPS[cap] in refused[0].reason
        return
    signed = most if exposure > 0.0 else -most
    assert approved == [approved_as(intent, signed, approved[0].reduce_only, CAPS[cap])]
