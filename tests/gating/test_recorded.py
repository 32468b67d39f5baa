"""Recorded markets of several sources: nothing is rolled back, and learning is seldom frozen."""

import pytest
from scipy import stats

from seawall.core.events import Raw
from seawall.core.records import ModelRolledBack, ModelUpdated
from seawall.node.perception import Perception, PerceptionShape
from tests.recorded import recorded

pytestmark = [pytest.mark.recorded, pytest.mark.slow]
BLOCK = 50_000


def interval(count, of):
    """Clopper and Pearson's 95 % interval of a share."""
    low = float(stats.beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    high = float(stats.beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0
    return f"{count / of:.2%} [{low:.2%}, {high:.2%}]"


@pytest.mark.parametrize(
    "name", ["depeg-2023", "venues-2022", "books-2024", "spot-2017", "perpetuals-15m"]
)
def test_clean_recorded_markets(name):
    market = recorded(name)
    perception = Perception(market.catalog, PerceptionShape(), market.catalog.numeraire("auto"))
    updates, rolled_back = [], 0
    for start in range(0, len(market.rows), BLOCK):
        for _ in perception.observe(Raw(market.rows[start : start + BLOCK])):
            pass
        for record in perception.gating.records:
            if isinstance(record, ModelUpdated):
                updates.append(record.decision)
            rolled_back += isinstance(record, ModelRolledBack)
        perception.gating.records.clear()
    assert rolled_back == 0
    if len(perception.consensus.sources[0]) < 3:
        assert not updates  # nothing to compare: learning is off
        return
    total = max(1, len(updates))
    frozen = sum(decision in ("frozen", "held") for decision in updates)
    rejected = updates.count("rejected")
    print(f"{name}: {total} updates, frozen {interval(frozen, total)}, ", end="")
    print(f"rejected {interval(rejected, total)}")
    assert frozen <= 0.05 * total
