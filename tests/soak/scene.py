"""Who takes part in the soak: vendor, web, workers, keys, applications, and a person who helps."""

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db import connection, connections

from keyvault.core.errors import KeyServiceError
from tests.conftest import ROOT, Process
from tests.soak.odd import Odd
from tests.waiting import until

QUIET_SECONDS = 240
WORKER = ["celery", "-A", "keyvault", "worker", "-B", "-c", "2", "--loglevel", "INFO"]


@contextmanager
def vendor(stack: Any) -> Iterator[Any]:
    """Run the sandbox vendor."""
    from sandbox.vendor_client import VendorClient

    folder = stack.folder / "vendor"
    folder.mkdir(mode=0o700)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.vendor", "--folder", str(folder), "--port", "0"],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        until((folder / "port").exists, what="the sandbox vendor")
        yield VendorClient(folder)
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def web(stack: Any, workers: int = 1, threads: int = 8) -> Iterator[str]:
    """Run gunicorn and return its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = Process(
        stack,
        "web",
        [
            *("gunicorn", "keyvault.wsgi:application"),
            *("--worker-class", "keyvault.web_server.BufferingWorker"),
            *("--workers", str(workers), "--threads", str(threads)),
            *("--preload", "--no-control-socket", "--bind", url[7:]),
        ],
        BASE_URL=url,
    )

    def answers() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            return False
        return True

    try:
        until(answers, 30, "gunicorn")
        yield url
    finally:
        process.stop()


class Workers:
    """Celery workers that can be killed and replaced; each has a beat of its own, which is harmless."""

    def __init__(self, stack: Any, count: int) -> None:
        self.stack = stack
        self._all = [self._start(place) for place in range(count)]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, place: int) -> Process:
        return self._all[place]

    def _start(self, place: int) -> Process:
        beat = self.stack.folder / f"beat-{os.urandom(4).hex()}"
        return Process(self.stack, "worker", [*WORKER, "-n", f"soak{place}@here", "-s", str(beat)])

    def replace(self, place: int) -> None:
        """Start a fresh one in the place of one that ended."""
        self._all[place] = self._start(place)

    def stop(self) -> None:
        """End all of them."""
        for worker in self._all:
            worker.stop()


class World:
    """The keys, their applications, and what is done to them."""

    def __init__(
        self, stack: Any, vendor: Any, url: str, keys: int, manual: int, applications: int
    ) -> None:
        from keyvault.models import Application
        from rotation.consumers import registry
        from tests.factories import make_key, make_people, make_place

        self.stack, self.vendor, self.url = stack, vendor, url
        self.place = make_place(vendor)
        for account in (self.place.api_account, self.place.manual_account):
            account.settings = {"propagation_seconds": 20.0, "steady_spacing_seconds": 0.3}
            account.save()
        self.people = make_people(self.place)
        self.keys, self.configs = [], []
        for number in range(applications):
            self.place.application = Application.objects.create(name=f"Application {number}")
            new = registry.add_consumer(
                self.people.owner,
                "everywhere",
                self.place.application,
                self.place.environment,
            )
            for place in range(number, keys, applications):
                key = make_key(vendor, self.place, self.people.owner, manual=place < manual)
                self.keys.append(key)
                self.configs.append(self.config(key, new.token.reveal()))
        self.applications = stack.folder / "applications"
        # Which key each one is of that was made in the dashboard: their ids are not on record.
        self.made_by_hand: dict[str, int] = {}
        self.odd = Odd(self)

    def config(self, key: Any, token: str, kind: str = "plain") -> dict[str, Any]:
        """Return what a program of this kind is told."""
        return {
            "kind": kind,
            "keyvault_url": self.url,
            "key_id": key.pk,
            "vendor_url": self.vendor.url,
            "token": token,
            "webhook_secret": "",
            "port": 0,
        }

    def keep_busy(self, stop: Any) -> None:
        """Start a rotation of some key every second or so, for as long as the faults last."""
        from rotation.engine import lifecycle

        while not stop.wait(1.0):
            key = random.choice(self.keys)
            with suppress(KeyServiceError, AnyDatabaseError, OSError):
                lifecycle.start(self.people.owner, key)
            connection.close_if_unusable_or_obsolete()
        connections.close_all()

    def be_the_person(self, stop: Any) -> None:
        """Do what open tasks ask: make and paste a key, delete one at the vendor, look again."""
        from rotation.models import HumanTask

        while not stop.wait(1.0):
            with suppress(AnyDatabaseError, OSError):
                self.odd.look_after()
                for task in HumanTask.objects.filter(
                    closed_at=None, rotation__finished_at=None, rotation__isnull=False
                ):
                    with suppress(KeyServiceError):
                        self._do(task)
            connection.close_if_unusable_or_obsolete()
        connections.close_all()

    def _do(self, task: Any) -> None:
        from rotation.engine import lifecycle, manual_keys
        from rotation.models import HumanTask
        from sandbox.vendor_client import VendorRefused
        from tests.factories import secret_of

        by = self.people.owner
        if task.kind == HumanTask.Kind.PASTE:
            made = self.vendor.create_key(self.place.vendor_manual["id"])
            self.made_by_hand[made["id"]] = task.rotation.key_id
            try:
                manual_keys.paste_for(by, task.rotation, made["key"])
            except (KeyServiceError, AnyDatabaseError):
                self._throw_away(made)
        elif task.kind == HumanTask.Kind.DELETE and task.version.destroyed_at is None:
            with suppress(VendorRefused):
                self.vendor.delete_key_by_secret(secret_of(task.version))
            lifecycle.ask_again(by, task.rotation)
        elif task.kind == HumanTask.Kind.LOOK:
            self.odd.mend(task.rotation)
            lifecycle.retry(by, task.rotation)

    def _throw_away(self, made: dict[str, Any]) -> None:
        """Delete a key that was not taken, unless it was, and only the answer was lost."""
        from keyvault.core.hashing import fingerprint
        from keyvault.core.secret import Secret
        from keyvault.models import KeyVersion

        def known() -> str:
            with suppress(AnyDatabaseError):
                mark = fingerprint(Secret(made["key"]))
                return "yes" if KeyVersion.objects.filter(fingerprint=mark).exists() else "no"
            connection.close_if_unusable_or_obsolete()
            return ""

        if until(known, 60, "the database") == "no":
            self.vendor.delete_key(made["id"])

    def problem_when_quiet(self) -> str:
        """Wait until no rotation is open, sweep, and ask the oracle; returns what broke, or nothing."""
        from keyvault.vault import secret_store
        from rotation.engine import cleanup
        from rotation.models import Rotation
        from tests import oracle

        secret_store.forget_login()
        # Those of before the last fault are dead.
        connections.close_all()
        try:
            until(
                lambda: not Rotation.objects.filter(finished_at=None).exists(),
                QUIET_SECONDS,
                "every rotation to end",
            )
            cleanup.finish_destroying()
            oracle.assert_all_is_well(self.vendor, self.place)
            oracle.assert_nobody_was_cut_off(self.vendor, self.place, self.odd.excused())
        except AssertionError as error:
            return f"BROKEN: {error}{self._open()}"
        return ""

    def _open(self) -> str:
        """Return what each rotation that did not end waits for."""
        from rotation.models import Rotation

        return "".join(
            f"\n  {one}: {one.step}, {one.waiting_for}, {one.waiting_text}"
            for one in Rotation.objects.filter(finished_at=None).select_related("key")
        )

    def facts(self) -> dict[str, Any]:
        """Return what came of the rotations."""
        from django.db.models import F, Max

        from keyvault.audit.models import AuditEvent
        from rotation.models import Rotation
        from tests.oracle import creates

        ended = Rotation.objects.filter(finished_at__isnull=False)
        longest = ended.aggregate(most=Max(F("finished_at") - F("started_at")))["most"]
        return {
            "done": ended.filter(step="done").count(),
            "failed": ended.filter(step="failed").count(),
            "open": Rotation.objects.filter(finished_at=None).count(),
            "creates": creates(self.vendor, self.place.vendor_api),
            "strays_deleted": AuditEvent.objects.filter(action="vendor_key.stray").count(),
            "suppressed": sum(_lost_claims(log) for log in self.stack.folder.glob("worker-*.log")),
            "longest_seconds": round(longest.total_seconds()) if longest else 0,
        }


def _lost_claims(log: Any) -> int:
    return int(log.read_text(errors="replace").count("claim lost"))


@contextmanager
def applications(world: World) -> Iterator[Callable[[], dict[str, Any]]]:
    """Run the applications and return what they counted so far."""
    folder = world.applications
    folder.mkdir(mode=0o700)
    (folder / "applications.json").write_text(json.dumps(world.configs))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.applications", str(folder)], cwd=ROOT
    )
    counts = folder / "counts.json"

    def read() -> dict[str, Any]:
        return dict(json.loads(counts.read_text()))

    try:
        until(
            lambda: counts.exists() and read()["holding"] >= len(world.configs), 60, "applications"
        )
        yield read
    finally:
        process.terminate()
        process.wait(10)
