"""After the rehearsal nothing that a user does has to wait for the compiler."""

from pathlib import Path

import pytest

import seawall
from seawall.cli import doctor
from seawall.node import rehearsal


@pytest.mark.slow
def test_the_rehearsal_compiles_every_file_that_has_kernels() -> None:
    said: list[str] = []
    rehearsal.compile_kernels(said.append)
    assert len(said) == 1
    check = doctor.kernels(Path(seawall.__file__).parent)
    assert check.state == "ok", check.found
