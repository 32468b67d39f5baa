"""Secrets: kept for their owner alone, made once, and shown by nothing."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seawall.core.errors import SettingError, StoreError
from seawall.core.settings import load
from seawall.storage.secrets import (
    GOLDEN_SET_KEY,
    OPERATOR_TOKEN,
    EnvironmentSecrets,
    FileSecrets,
    ensure_operator_token,
    ensure_signing_key,
)

SECRET = "hush-5ec2e7-hush"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys"


def kept(folder: Path, name: str = "thing", text: str = SECRET) -> Path:
    FileSecrets(folder).ensure(name, lambda: text)
    return folder / name


def test_what_was_never_kept_is_none_and_makes_nothing(folder: Path) -> None:
    assert FileSecrets(folder).get("thing") is None
    assert not folder.exists()


def test_a_secret_is_made_once_and_for_its_owner_alone(folder: Path) -> None:
    before = os.umask(0)
    try:
        path = kept(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert FileSecrets(folder).ensure("thing", lambda: "another") == SECRET
    assert FileSecrets(folder).get("thing") == SECRET
    assert [p.name for p in folder.iterdir()] == ["thing"]


def test_all_who_ask_at_once_get_the_same(folder: Path) -> None:
    together, answers = threading.Barrier(8), []

    def ask(number: int) -> None:
        together.wait()
        answers.append(FileSecrets(folder).ensure("thing", lambda: f"{SECRET}-{number}"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert [p.name for p in folder.iterdir()] == ["thing"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_touch_is_refused(folder: Path, mode: int) -> None:
    kept(folder).chmod(mode)
    for ask in (
        lambda: FileSecrets(folder).get("thing"),
        lambda: FileSecrets(folder).ensure("thing", lambda: "another"),
    ):
        with pytest.raises(StoreError, match=rf"mode {mode:04o}.*chmod 600") as caught:
            ask()
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_refused(folder: Path) -> None:
    os.chown(kept(folder), 12_345, 12_345)
    with pytest.raises(StoreError, match="belongs to another user"):
        FileSecrets(folder).get("thing")


def test_a_link_a_folder_and_a_pipe_are_no_secrets(folder: Path) -> None:
    (folder / "link").symlink_to(kept(folder))
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe", 0o600)
    for name in ("link", "folder", "pipe"):
        with pytest.raises(StoreError, match="plain file"):
            FileSecrets(folder).get(name)


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe" + SECRET.encode(), b"x" * 70_000])
def test_a_file_without_a_secret_in_it_is_refused(folder: Path, content: bytes) -> None:
    kept(folder).write_bytes(content)
    with pytest.raises(StoreError, match="holds no secret") as caught:
        FileSecrets(folder).get("thing")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "A", "x y", "x\n", "x" * 200])
def test_a_name_that_is_none_leads_nowhere(folder: Path, name: str) -> None:
    for secrets in (FileSecrets(folder), EnvironmentSecrets({})):
        with pytest.raises(SettingError, match="cannot name a secret"):
            secrets.get(name)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot (read|keep) the secret") as caught:
        kept(tmp_path / "file")
    assert SECRET not in str(caught.value)


def test_the_environment_stands_above_the_files(folder: Path) -> None:
    kept(folder, "source-v0.x")
    above = EnvironmentSecrets({"SEAWALL_SECRET_SOURCE_V0_X": " from outside\n"})
    assert FileSecrets(folder, above).get("source-v0.x") == "from outside"
    assert FileSecrets(folder, above).ensure("source-v0.x", lambda: "made") == "from outside"
    empty = EnvironmentSecrets({"SEAWALL_SECRET_SOURCE_V0_X": ""})
    assert FileSecrets(folder, empty).get("source-v0.x") == SECRET


def test_a_secret_in_the_environment_is_no_unknown_setting() -> None:
    with_it = load(None, {}, {"SEAWALL_SECRET_OPERATOR_TOKEN": SECRET})
    assert with_it == load(None, {}, {})
    assert SECRET not in repr(with_it)
    with pytest.raises(SettingError, match="no setting"):
        load(None, {}, {"SEAWALL_SECRETS": "1"})


def test_the_signing_key_and_the_token_are_made_at_random_and_stay(
    tmp_path: Path, folder: Path
) -> None:
    secrets, others = FileSecrets(folder), FileSecrets(tmp_path / "others")
    key, token = ensure_signing_key(secrets), ensure_operator_token(secrets)
    assert key.verifying.verify(b"golden", ensure_signing_key(secrets).sign(b"golden"))
    assert token == ensure_operator_token(secrets)
    assert len(token) >= 43
    assert not ensure_signing_key(others).verifying.verify(b"golden", key.sign(b"golden"))
    assert ensure_operator_token(others) != token
    assert sorted(p.name for p in folder.iterdir()) == [GOLDEN_SET_KEY, OPERATOR_TOKEN]


def test_a_damaged_signing_key_is_named_and_not_shown(folder: Path) -> None:
    kept(folder, GOLDEN_SET_KEY, SECRET)
    with pytest.raises(SettingError, match=f"the secret {GOLDEN_SET_KEY}") as caught:
        ensure_signing_key(FileSecrets(folder))
    assert SECRET not in str(caught.value)


def test_no_repr_holds_a_secret(folder: Path) -> None:
    kept(folder)
    above = EnvironmentSecrets({"SEAWALL_SECRET_THING": SECRET})
    secrets = FileSecrets(folder, above)
    assert secrets.get("thing") == SECRET
    for one in (secrets, above, ensure_signing_key(FileSecrets(folder))):
        assert SECRET not in repr(one) + str(one) + repr(vars(one) if one is secrets else "")


def test_a_traceback_of_a_refused_key_does_not_show_it(folder: Path) -> None:
    """The interpreter's own report, as a log would keep it."""
    kept(folder, GOLDEN_SET_KEY, SECRET)
    program = (
        "import sys; from pathlib import Path\n"
        "from seawall.storage.secrets import FileSecrets, ensure_signing_key\n"
        "ensure_signing_key(FileSecrets(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "SettingError" in done.stderr
    assert SECRET not in done.stderr + done.stdout
