"""What each process of the installation is given: settings, and secrets as files of mode 0600."""

import base64
import os
import secrets
from pathlib import Path
from typing import Literal

from sandbox.services.openbao import OpenBao
from sandbox.services.postgres import Postgres
from sandbox.services.process import MissingPart, private_folder, remembered_port, write_private
from sandbox.services.valkey import Valkey

Kind = Literal["web", "worker", "owner"]

# A rotation should be over while one watches it; the defaults are for production.
_SANDBOX = {
    "ALLOWED_HOSTS": "127.0.0.1,localhost",
    "ALLOW_LOOPBACK_TARGETS": "1",
    "INSECURE_HTTP": "1",
    "EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend",
    "WORKER_SHUTDOWN_SECONDS": "10",
}
_ADJUSTABLE = {
    "LOG_LEVEL": "INFO",
    "TICK_SECONDS": "2",
    "DEFAULT_OVERLAP_SECONDS": "15",
    "DEFAULT_QUIET_SECONDS": "10",
    "TIME_ZONE": "UTC",
}


class Settings:
    """The settings of the installation in `folder`, and the servers it must start itself.

    `postgres`, `valkey` and `openbao` are None where the environment names a server to use instead.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = None if _named("DATABASE_URL") else Postgres(folder / "postgres")
        self.valkey = None if _named("CELERY_BROKER_URL") else Valkey(folder / "valkey")
        self.openbao = None if _named("VAULT_ADDR") else OpenBao(folder / "openbao")

    @property
    def port(self) -> int:
        """Return the port of the web server; it is known from the first start on."""
        return int((self.folder / "web.port").read_text())

    @property
    def url(self) -> str:
        """Return the URL of the console and the API."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self, choose_port: bool = True) -> None:
        """Make the secrets, once, and find a port; MissingPart when a given server lacks a part."""
        self._require_whole_servers()
        _secret_once(self._secret_file("SECRET_KEY"), secrets.token_urlsafe(48))
        _secret_once(self._secret_file("FINGERPRINT_KEY"), secrets.token_urlsafe(48))
        _secret_once(self._secret_file("TOKEN_PEPPER"), secrets.token_urlsafe(48))
        signing_key = base64.b64encode(secrets.token_bytes(32)).decode()
        _secret_once(self._secret_file("AUDIT_SIGNING_KEY"), signing_key)
        private_folder(self.folder / "audit")
        if choose_port:
            remembered_port(self.folder / "web.port")

    def environment(self, kind: Kind) -> dict[str, str]:
        """Return the settings for a process: `web`, `worker` (also beat), or `owner` (migrates)."""
        adjusted = {name: os.environ.get(name, value) for name, value in _ADJUSTABLE.items()}
        shared = ("SECRET_KEY", "FINGERPRINT_KEY", "TOKEN_PEPPER")
        mine = ("AUDIT_SIGNING_KEY",) if kind in ("worker", "owner") else ()
        files = {f"{name}_FILE": str(self._secret_file(name)) for name in (*shared, *mine)}
        return {
            **_SANDBOX,
            **adjusted,
            **files,
            "DJANGO_SETTINGS_MODULE": "keyvault.settings",
            "BASE_URL": self.url,
            "AUDIT_EXPORT_DIR": str(self.folder / "audit"),
            **self._database(kind),
            **self._broker(),
            **self._vault(kind),
        }

    def _database(self, kind: Kind) -> dict[str, str]:
        if self.postgres is None:
            owner = self._given("DATABASE_OWNER_URL") if kind == "owner" else {}
            return {**self._given("DATABASE_URL"), **owner}
        owner = {"DATABASE_OWNER_URL": self.postgres.owner_url} if kind == "owner" else {}
        return {"DATABASE_URL": self.postgres.app_url, **owner}

    def _broker(self) -> dict[str, str]:
        if self.valkey is None:
            return self._given("CELERY_BROKER_URL")
        return {"CELERY_BROKER_URL": self.valkey.broker_url}

    def _vault(self, kind: Kind) -> dict[str, str]:
        """The owner's commands register keys as the web does; only workers may destroy."""
        if self.openbao is None:
            return self._given_vault(kind)
        role = "worker" if kind == "worker" else "web"
        return {
            "VAULT_ADDR": self.openbao.address,
            "VAULT_MOUNT": self.openbao.mount,
            "VAULT_ROLE_ID": self.openbao.credentials(role)[0],
            "VAULT_SECRET_ID_FILE": str(self.openbao.secret_id_file(role)),
        }

    def _given_vault(self, kind: Kind) -> dict[str, str]:
        names = ("VAULT_ADDR", "VAULT_MOUNT", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_ROLE_ID")
        plain = {name: os.environ[name] for name in names if os.environ.get(name)}
        prefix = "WORKER_" if kind == "worker" and _named("WORKER_VAULT_SECRET_ID") else ""
        secret_id = self._given(f"{prefix}VAULT_SECRET_ID")
        if prefix:
            plain["VAULT_ROLE_ID"] = os.environ.get("WORKER_VAULT_ROLE_ID", "")
        return {**plain, **{name.removeprefix(prefix): file for name, file in secret_id.items()}}

    def _given(self, name: str) -> dict[str, str]:
        """Hand on a secret of our environment as a file: environments are easily read."""
        if os.environ.get(f"{name}_FILE"):
            return {f"{name}_FILE": str(Path(os.environ[f"{name}_FILE"]).absolute())}
        file = self._secret_file(name)
        write_private(file, os.environ[name])
        return {f"{name}_FILE": str(file)}

    def _secret_file(self, name: str) -> Path:
        return private_folder(self.folder / "secrets") / name

    def _require_whole_servers(self) -> None:
        if self.postgres is None and not _named("DATABASE_OWNER_URL"):
            raise MissingPart(
                "DATABASE_URL is set, but DATABASE_OWNER_URL is not: set it to the URL of the role"
                " that owns the tables, or unset DATABASE_URL to let the sandbox start Postgres."
            )
        if self.openbao is not None:
            return
        if not (os.environ.get("VAULT_ROLE_ID") and _named("VAULT_SECRET_ID")):
            raise MissingPart(
                "VAULT_ADDR is set, but VAULT_ROLE_ID or VAULT_SECRET_ID is not: set both (and"
                " WORKER_VAULT_ROLE_ID, WORKER_VAULT_SECRET_ID for a role of the workers' own), or"
                " unset VAULT_ADDR to let the sandbox start OpenBao."
            )


def _named(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(f"{name}_FILE"))


def _secret_once(file: Path, value: str) -> None:
    if not file.exists():
        write_private(file, value)
