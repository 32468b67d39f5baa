"""`seawall keys`: the API keys of exchanges, in an encrypted file that only its owner can read."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import secrets_of, settings_of
from seawall.core.errors import SettingError

if TYPE_CHECKING:
    from seawall.core.ports import Secrets
    from seawall.core.settings import Settings
    from seawall.storage.keystore import KeyStore

EXAMPLES = """\b
Examples:
  seawall keys add binance
      asks for the passphrase, the API key and its secret; none is shown
  seawall keys add okx --password
      also asks for the password that this exchange gives its keys
  seawall keys list
  seawall keys remove binance

The passphrase may also come from the variable SEAWALL_SECRET_KEYS_PASSPHRASE,
or from a file keys/keys-passphrase with mode 0600 in the data folder. Where the
input is no terminal, key, secret and password are read from it, a line each.
"""
FILE = "exchange-keys.json"  # in the data folder
PARTS = ("api-key", "api-secret", "api-password")

app = typer.Typer(
    help="API keys of exchanges, kept encrypted.", no_args_is_help=True, rich_markup_mode=None
)
Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="A name, usually the exchange's: binance.")
]


@app.command(epilog=EXAMPLES)
def add(
    account: Account,
    password: Annotated[
        bool, typer.Option("--password", help="The exchange's keys also have a password.")
    ] = False,
    data_dir: options.Keys = None,
) -> None:
    """Keep the API key of an account."""
    settings = settings_of(None, {"data_dir": data_dir})
    wanted = PARTS if password else PARTS[:2]
    store = opened(settings, new=True)
    entries = {}
    for part in wanted:
        given = hidden(f"{part.replace('-', ' ')} of {account}")
        if not given:
            raise SettingError(f"no {part.replace('-', ' ')} was given; nothing was kept")
        entries[f"{account}-{part}"] = given.replace("\\n", "\n")
    store.put(entries)
    typer.echo(f"kept: {', '.join(entries)}")


@app.command(name="list", epilog=EXAMPLES)
def list_(data_dir: options.Keys = None) -> None:
    """Names of what is kept; never what it is."""
    names = opened(settings_of(None, {"data_dir": data_dir})).names()
    for name in names:
        typer.echo(name)
    if not names:
        typer.echo("no keys are kept; `seawall keys add ACCOUNT` adds some")


@app.command(epilog=EXAMPLES)
def remove(account: Account, data_dir: options.Keys = None) -> None:
    """Forget the API key of an account."""
    store = opened(settings_of(None, {"data_dir": data_dir}))
    found = [name for name in store.names() if name in {f"{account}-{part}" for part in PARTS}]
    if not found:
        raise SettingError(f"no keys of {account} are kept; `seawall keys list` shows what is")
    store.remove(found)
    typer.echo(f"removed: {', '.join(found)}")


def opened(settings: "Settings", new: bool = False) -> "KeyStore":
    """The encrypted file of this data folder, opened with the user's passphrase.

    Args:
        new: a missing file is to be made; its passphrase is asked for twice.

    Raises:
        SettingError: there is no passphrase to be had, or it is wrong.
    """
    from seawall.storage.keystore import KeyStore
    from seawall.storage.secrets import KEYS_PASSPHRASE

    path = settings.data_dir / FILE
    passphrase = secrets_of(settings).get(KEYS_PASSPHRASE)
    if passphrase is None:
        if not sys.stdin.isatty():
            raise SettingError(
                f"{path} needs a passphrase and there is no terminal to ask on; set "
                "SEAWALL_SECRET_KEYS_PASSPHRASE"
            )
        passphrase = hidden("passphrase of the keys")
        if new and not path.exists() and hidden("the same again") != passphrase:
            raise SettingError("the two passphrases differ; nothing was kept")
    return KeyStore(path, passphrase)


def trading_secrets(settings: "Settings") -> "Secrets":
    """Where the keys of the live accounts are: variables, the encrypted file, the vaults.

    The passphrase is asked for only where the variables do not have them.
    """
    from seawall.storage.secrets import LayeredSecrets
    from seawall.storage.vault import VaultSecrets

    accounts = settings.live_accounts().values()
    places: list[Secrets] = [secrets_of(settings)]
    wanted = [f"{one.keys or one.exchange}-{part}" for one in accounts for part in PARTS[:2]]
    if all(places[0].get(name) for name in wanted):
        return places[0]
    vaults = dict.fromkeys(one.vault for one in accounts if one.vault)
    places += [VaultSecrets(vault, os.environ) for vault in vaults]
    if (settings.data_dir / FILE).exists():
        places.append(opened(settings))
    return LayeredSecrets(places)


def hidden(what: str) -> str:
    """A line that is not echoed; where the input is no terminal, its next line."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    answer: str = typer.prompt(what, hide_input=True, default="", show_default=False)
    return answer.strip()
