"""After the rehearsal nothing that a user does has to wait for the compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import seawall
from seawall.cli import doctor


@pytest.mark.slow
def test_the_rehearsal_compiles_every_file_that_has_kernels(tmp_path: Path) -> None:
    """From nothing: what other tests have compiled does not count."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    ended = subprocess.run(
        [Path(sys.executable).with_name("seawall"), "doctor", "--compile"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert not without_index(Path(seawall.__file__).parent, tmp_path)


def without_index(package: Path, kept: Path) -> list[str]:
    """Files with kernels of which the compiler has kept nothing: FOLDER_HASH/FILE.KERNEL.nbi."""
    sources = [path for path in package.rglob("*.py") if doctor._has_kernels(path)]
    return [
        f"{path.parent.name}/{path.name}"
        for path in sources
        if not any(kept.glob(f"{path.parent.name}_*/{path.stem}.*.nbi"))
    ]
