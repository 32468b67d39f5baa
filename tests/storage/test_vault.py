"""Keys in a vault: hvac against a local server that speaks KV version 2."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from seawall.core.errors import SettingError, StoreError
from seawall.storage.vault import VaultSecrets

pytest.importorskip("hvac", reason="the extra `vault` is not installed")
TOKEN, SECRET = "token-5ec2e7", "hush-5ec2e7-hush"


class Vault(BaseHTTPRequestHandler):
    """GET of /v1/secret/data/trading, with the right token."""

    def do_GET(self) -> None:
        found = self.path == "/v1/secret/data/trading"
        allowed = self.headers.get("X-Vault-Token") == TOKEN
        status = 200 if found and allowed else 403 if found else 404
        data = {"data": {"binance-api-key": SECRET}, "metadata": {"version": 1}}
        body = json.dumps({"data": data} if status == 200 else {"errors": []}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: object) -> None:
        """Nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Vault)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_secret_is_found_and_shown_by_nothing(address: str) -> None:
    vault = VaultSecrets("secret/trading", {"VAULT_ADDR": address, "VAULT_TOKEN": TOKEN})
    assert vault.get("binance-api-key") == SECRET
    assert vault.get("binance-api-secret") is None
    assert SECRET not in repr(vault)


def test_what_is_wrong_is_one_line(address: str) -> None:
    with pytest.raises(SettingError, match="set VAULT_ADDR and VAULT_TOKEN"):
        VaultSecrets("secret/trading", {"VAULT_ADDR": address})
    for place, token in (("secret/trading", "wrong"), ("secret/none", TOKEN)):
        with pytest.raises(StoreError, match="the vault gives no secret") as caught:
            VaultSecrets(place, {"VAULT_ADDR": address, "VAULT_TOKEN": token})
        assert "wrong" not in str(caught.value)
    with pytest.raises(StoreError, match="the vault gives no secret"):
        VaultSecrets("secret/trading", {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": TOKEN})
