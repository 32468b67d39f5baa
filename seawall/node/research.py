"""Perception of a whole tape, kept on disk: what research evaluates thousands of sets on."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import seawall
from seawall.core.errors import DataError, SettingError
from seawall.core.instruments import Catalog
from seawall.core.settings import Settings
from seawall.ingestion.tape import Tape, open_tape
from seawall.lab.research import market
from seawall.lab.research.following import FollowingShape
from seawall.lab.research.market import Market
from seawall.node import assembly, division
from seawall.node.perception import Perceived

BLOCK = 1 << 18  # rows of the tape at a time
FOLDER = "research"
# What a frame depends on: a market that an older version of these has perceived is not taken.
PERCEPTION = ("core", "admission", "market", "estimation", "gating", "analysis", "node")


def perceive(
    settings: Settings,
    tape: Path,
    instrument: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    features: tuple[str, ...] = (),
) -> Path:
    """The folder that holds the market of one instrument of a tape, as `market.load` reads it.

    It is made at the first call and found again as long as tape, settings and code are the same.

    Args:
        instrument: its name; empty: the one that is traded, if that is just one.
        features: names of those that the strategy wants on its rows.

    Raises:
        SettingError: there are several to choose from. DataError: the tape cannot be used.
    """
    recorded = open_tape(tape)
    if not recorded.rows:
        raise DataError(f"{tape}: the tape is empty; import data into it")
    name = instrument or _only(settings, recorded.catalog)
    target = settings.data_dir / FOLDER / _key(settings, tape, name, features)
    if target.exists():
        progress(recorded.rows, recorded.rows)
        return target
    perception = assembly.perception_of(settings, recorded.catalog, features=features)
    seen = _perceived(perception, recorded, progress)
    made = market.market_of(
        recorded.catalog,
        name,
        tuple(perception.market.groups),
        perception.cadence_ns,
        seen.frames,
        seen.told,
    )
    _keep(made, target)
    return target


def frames_of(
    settings: Settings, tape: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[Any]:
    """All FRAME rows of a tape."""
    recorded = open_tape(tape)
    perception = assembly.perception_of(settings, recorded.catalog)
    return _perceived(perception, recorded, progress).frames


def perceived_market(
    settings: Settings, tape: Path, instrument: str = "", features: tuple[str, ...] = ()
) -> Market:
    """As `perceive`, read."""
    return market.load(perceive(settings, tape, instrument, features=features))


def following_of(settings: Settings, **given: Any) -> FollowingShape:
    """The account's rules as the node has them: fees, spread of bars, cap, deadband, hold.

    Args:
        given: fields of FollowingShape that are to be otherwise.
    """
    venue, decision = settings.venue, settings.decision
    values: dict[str, Any] = {
        "capital": float(settings.capital),
        "cap": assembly.SHARE * settings.risk.max_position_size,
        "deadband": decision.deadband,
        "hold": decision.minimum_hold_s,
        "taker_fee_ppm": venue.taker_fee_ppm,
        "half_spread_ppm": venue.half_spread_ppm,
        "participation": venue.bar_participation,
        "leverage": settings.risk.max_leverage,
        "volatility": assembly.shape_of(settings).volatility.bounds,
    }
    return FollowingShape(**{**values, **given})


def _perceived(perception: Any, recorded: Tape, progress: Callable[[int, int], None]) -> Perceived:
    frames: list[NDArray[Any]] = []
    rows: list[NDArray[Any]] = []
    for block in recorded.blocks(BLOCK):
        for seen in perception.observe(block):
            frames.append(seen.frames)
            rows.append(seen.told)
        progress(perception.rows, recorded.rows)
    for seen in perception.flush():
        frames.append(seen.frames)
        rows.append(seen.told)
    if not frames:
        raise DataError("the tape is shorter than one frame; record or import more of it")
    return Perceived(np.concatenate(frames), np.concatenate(rows))


def _only(settings: Settings, catalog: Catalog) -> str:
    traded = division.traded_of(settings, catalog, division.deposits_of(settings, catalog))
    if len(traded) != 1:
        raise SettingError(
            f"this tape has {len(traded)} instruments to trade; choose one with --symbol: "
            f"{', '.join(traded)}"
        )
    return traded[0]


def _key(settings: Settings, tape: Path, name: str, features: tuple[str, ...]) -> str:
    about = f"{seawall.__version__} {settings.fingerprint()} {name} {' '.join(features)}"
    digest = hashlib.sha256(about.encode())
    for file in sorted(tape.iterdir()):
        digest.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    code = Path(seawall.__file__).parent
    for part in PERCEPTION:
        for source in sorted((code / part).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _keep(made: Market, target: Path) -> None:
    """Whole or not at all: written beside it, then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        market.save(made, Path(folder))
        if not target.exists():
            shutil.copytree(folder, f"{target}.part", dirs_exist_ok=True)
            Path(f"{target}.part").rename(target)
