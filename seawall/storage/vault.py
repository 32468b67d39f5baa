"""Secrets in a HashiCorp Vault, KV version 2, through hvac (the extra `vault`)."""

from collections.abc import Mapping

from seawall.core.errors import SettingError, StoreError
from seawall.storage.secrets import checked_name


class VaultSecrets:
    """The keys of one secret of a vault; read once. A `core.ports.Secrets`.

    Args:
        place: mount and path, such as ``secret/trading``.
        environment: usually `os.environ`: VAULT_ADDR and VAULT_TOKEN, as Vault's own tools use.

    Raises:
        SettingError: hvac is not installed, or no address or token is given.
        StoreError: the vault does not answer, or not with this secret.
    """

    def __init__(self, place: str, environment: Mapping[str, str]) -> None:
        try:
            import hvac
        except ImportError:
            raise SettingError(
                "live.vault needs the extra `vault`; install it with pip install 'seawall[vault]'"
            ) from None
        address, token = environment.get("VAULT_ADDR"), environment.get("VAULT_TOKEN")
        if not (address and token):
            raise SettingError("live.vault is set: set VAULT_ADDR and VAULT_TOKEN as well")
        mount, _, path = place.partition("/")
        self._place = place
        try:
            read = hvac.Client(url=address, token=token).secrets.kv.v2.read_secret_version
            answer = read(path=path, mount_point=mount, raise_on_deleted_version=True)
            self._found = {str(k): str(v) for k, v in answer["data"]["data"].items()}
        except Exception as error:  # noqa: BLE001  hvac and what is below it raise what they like
            raise StoreError(
                f"the vault gives no secret {place}: {type(error).__name__}; look at VAULT_ADDR, "
                "the token's policy and live.vault"
            ) from None

    def get(self, name: str) -> str | None:
        """The secret; None where there is none."""
        return self._found.get(checked_name(name))

    def __repr__(self) -> str:
        return f"VaultSecrets({self._place!r})"
