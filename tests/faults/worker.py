"""A worker that can be held at a named point: a fork of this process with connections of its own."""

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from tests.waiting import until

LONGEST = 40.0


class Worker:
    """A forked worker; it moves one rotation and its webhooks until it is told to stop."""

    def __init__(self, stack, rotation_id, crash_at="", before=None):
        self.status = None
        for connection in connections.all():
            connection.close()
        self._stop, stop = os.pipe()
        self._told = stop
        self.pid = os.fork()
        if self.pid == 0:
            _become_worker(stack, rotation_id, crash_at, before, self._stop)
        os.close(self._stop)

    def hold(self):
        """Wait until it stands at its point; False when it ended before it came there."""
        return until(self._held, 30, "the worker to come to its point") == "held"

    def _held(self):
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return ""
        if os.WIFSTOPPED(status):
            return "held"
        self.status = status
        return "ended"

    def resume(self, sign=None):
        """Let it go on with what it was about to do, then end; returns how it ended."""
        os.write(self._told, b".")
        if sign is not None:
            os.kill(self.pid, sign)
        os.kill(self.pid, signal.SIGCONT)
        return self.wait()

    def wait(self):
        """Wait for its end, or end it."""
        with contextlib.suppress(AssertionError):
            until(self._ended, LONGEST, "the worker to end")
        self.close()
        return self.status

    def _ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            _, self.status = os.waitpid(self.pid, 0)
        if self._told is not None:
            os.close(self._told)
            self._told = None


def _become_worker(stack, rotation_id, crash_at, before, stop):
    """Move the rotation in the forked child, as a real worker's role at Vault; never returns."""
    code = 3
    try:
        from django.conf import settings

        from keyvault.vault import secret_store

        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_DFL)
        os.environ["CRASH_AT"] = crash_at
        settings.VAULT_ROLE_ID = stack.openbao.credentials("worker")[0]
        os.environ["VAULT_SECRET_ID_FILE"] = str(stack.openbao.secret_id_file("worker"))
        secret_store.forget_login()
        # A browser that was started meanwhile gives the fork another set of connections than the
        # parent closed: maybe to a server that has been restarted since.
        for connection in connections.all():
            connection.close()
        os.set_blocking(stop, False)
        if before:
            before()
        _work(rotation_id, stop)
        code = 0
    finally:
        # Whatever went wrong must not come back into the tests' own process.
        if code:
            with open(stack.folder / "fault-worker.log", "a", encoding="utf-8") as log:
                traceback.print_exc(file=log)
        os._exit(code)


def _work(rotation_id, stop):
    from rotation.consumers import webhooks
    from rotation.engine import runner
    from rotation.models import Outage, Rotation, WebhookDelivery
    from tests.rotation.driving import everybody_moves

    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline:
        Outage.objects.update(next_try_at=Now())
        Rotation.objects.filter(pk=rotation_id, due_at__isnull=False).update(due_at=Now())
        runner.advance(rotation_id)
        WebhookDelivery.objects.filter(state="waiting").update(due_at=timezone.now())
        for delivery_id in webhooks.due():
            webhooks.deliver(delivery_id, seconds=2.0)
        everybody_moves(Rotation.objects.values_list("key_id", flat=True).get(pk=rotation_id))
        try:
            if os.read(stop, 1):
                return
        except BlockingIOError:
            pass
        if not Rotation.objects.filter(pk=rotation_id, finished_at=None).exists():
            return


@contextmanager
def held_at(stack, rotation, point) -> Iterator[Worker]:
    """Run a worker to the point and hold it there."""
    worker = Worker(stack, rotation.pk, f"{point}:hold")
    try:
        assert worker.hold(), f"the worker ended before {point}"
        yield worker
    finally:
        worker.close()
