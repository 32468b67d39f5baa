"""After the rehearsal nothing that a user does has to wait for the compiler."""

from pathlib import Path

import pytest

import seawall
from seawall.cli import doctor
from seawall.node import rehearsal


@pytest.mark.slow
def test_the_rehearsal_compiles_every_file_that_has_kernels() -> None:
    """Whether a file is older than its index does not count: a caller's own index spares it."""
    said: list[str] = []
    rehearsal.compile_kernels(said.append)
    assert len(said) == 1
    assert not without_index(Path(seawall.__file__).parent)


def without_index(package: Path) -> list[str]:
    sources = [path for path in package.rglob("*.py") if doctor._has_kernels(path)]
    return [
        path.name
        for path in sources
        if not any((path.parent / "__pycache__").glob(f"{path.stem}.*.nbi"))
    ]
