"""What a fresh installation shows: accounts at the sandbox vendor, keys in use, an application.

The vendor's secrets pass through here once: made at the vendor, handed to `seedsandbox` by standard
input, and kept in a file of mode 0600 only until they have arrived.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from sandbox.services.process import StartFailed, free_port, private_folder, write_private

_ACCOUNTS = {"api": "Sandbox vendor", "manual": "Influtics"}
_SECRETS = ("secret", "key_id", "management_credential")


class Seeds:
    """What was created at the vendor (`vendor.json`) and in the product (`seeds.json`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor_file, self.seeds_file = folder / "vendor.json", folder / "seeds.json"
        self.app_config = folder / "app" / "config.json"

    def ids(self) -> dict[str, Any]:
        """Return the ids of what was seeded: api_account, manual_account, application, key …"""
        return _read(self.seeds_file)

    def planted(self) -> bool:
        """Tell whether the product has been filled."""
        return self.seeds_file.exists()

    def sign_ins(self) -> dict[str, dict[str, str]]:
        """Return e-mail and password for the vendor's dashboard, of account `api` and `manual`."""
        known = _read(self.vendor_file)
        return {
            name: {"email": account["email"], "password": account["password"]}
            for name, account in known.items()
        }

    def control(self) -> dict[str, str]:
        """Return the header that opens the vendor's control routes."""
        token = (self.folder / "vendor" / "control_token").read_text().strip()
        return {"X-Control-Token": token}

    def plant(self, vendor_url: str, manage: Callable[..., str]) -> None:
        """Create the vendor's accounts and keys, and record them in the product."""
        accounts = self._accounts(vendor_url)
        app_port = free_port()
        given = {
            "management_credential": accounts["api"]["management_credential"],
            "api_secret": accounts["api"]["secret"],
            "api_key_vendor_id": accounts["api"]["key_id"],
            "manual_secret": accounts["manual"]["secret"],
            "webhook_url": f"http://127.0.0.1:{app_port}/webhook",
        }
        urls = ("--vendor-url", vendor_url, "--dashboard-url", f"{vendor_url}/settings/api")
        answer = json.loads(manage("seedsandbox", "--json", *urls, stdin=json.dumps(given)))
        token, webhook_secret = answer.pop("token"), answer.pop("webhook_secret")
        if not (token and webhook_secret):
            raise StartFailed(
                "The sample application's token was issued by a start that did not end, and is"
                " lost: run `make clean`, then start again."
            )
        app = {"port": app_port, "token": token, "webhook_secret": webhook_secret}
        private_folder(self.app_config.parent)
        write_private(self.app_config, json.dumps({**app, "key_id": answer["key"]}))
        self._forget_secrets(accounts)
        write_private(self.seeds_file, json.dumps(answer))

    def configure_app(self, keyvault_url: str, vendor_url: str) -> None:
        """Tell the sample application where the product and the vendor are this time."""
        config = _read(self.app_config)
        config |= {"keyvault_url": keyvault_url, "vendor_url": vendor_url}
        write_private(self.app_config, json.dumps(config))

    def _accounts(self, vendor_url: str) -> dict[str, dict[str, str]]:
        """Return both accounts with a key in each; what an earlier try made is used, not doubled."""
        accounts = _read(self.vendor_file)
        for name, title in _ACCOUNTS.items():
            if name not in accounts:
                body = {"name": title, "plan": "pro", "key_limit": 10}
                accounts[name] = self._post(vendor_url, "accounts", body)
                write_private(self.vendor_file, json.dumps(accounts))
            if "secret" not in accounts[name]:
                body = {"account": accounts[name]["id"], "label": "made by hand"}
                key = self._post(vendor_url, "keys", body)
                accounts[name] |= {"secret": key["key"], "key_id": key["id"]}
                write_private(self.vendor_file, json.dumps(accounts))
        return accounts

    def _post(self, vendor_url: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{vendor_url}/_sandbox/{route}"
        answer = requests.post(url, json=body, headers=self.control(), timeout=10)
        if not answer.ok:
            raise StartFailed(f"The sandbox vendor answered {answer.status_code} to {route}.")
        return dict(answer.json())

    def _forget_secrets(self, accounts: dict[str, dict[str, str]]) -> None:
        for account in accounts.values():
            for name in _SECRETS:
                account.pop(name, None)
        write_private(self.vendor_file, json.dumps(accounts))


def _read(file: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads(file.read_text()))
    return {}
