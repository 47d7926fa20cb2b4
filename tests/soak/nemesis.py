"""What goes wrong during the soak: one thing at a time, at random, from a seed."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from django.db import Error as AnyDatabaseError
from django.db import connection

_HONEST = {"last_use_shown": "exact", "last_use_resolution": 0, "last_use_lag": 0}


class Nemesis:
    """Brings about one fault after another until it is told to stop."""

    def __init__(self, world: Any, workers: Any, seed: int) -> None:
        self.world, self.workers = world, workers
        self.stack, self.vendor = world.stack, world.vendor
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._never = threading.Event()
        self.faults: tuple[Callable[[], None], ...] = (
            self.worker_killed,
            self.worker_frozen,
            self.worker_stopped,
            self.broker_killed,
            self.broker_flushed,
            self.postgres_killed,
            self.vault_stopped,
            self.vendor_errors,
            self.vendor_limits,
            self.vendor_cuts,
            self.vendor_lags,
            self.last_use_never,
            self.last_use_coarse,
            self.last_use_late,
            self.gateway_404,
            self.old_key_ended_early,
        )

    def let_pass(self, seconds: float) -> None:
        """Let time pass: here it is the fault itself, and no condition ends it earlier."""
        self._never.wait(seconds)

    def strike(self) -> None:
        """Bring about one fault and let it pass."""
        fault = self.random.choice(self.faults)
        self.done[fault.__name__.replace("_", " ")] += 1
        fault()

    def pause(self) -> float:
        """Return how many seconds to wait before the next."""
        return self.random.uniform(2.0, 6.0)

    def worker_killed(self) -> None:
        """SIGKILL to the whole group; a fresh one starts."""
        place = self.random.randrange(len(self.workers))
        self.workers[place].kill()
        self.workers.replace(place)

    def worker_stopped(self) -> None:
        """SIGTERM, as at a deploy."""
        place = self.random.randrange(len(self.workers))
        self.workers[place].stop()
        self.workers.replace(place)

    def worker_frozen(self) -> None:
        """SIGSTOP for some seconds."""
        group = self.workers[self.random.randrange(len(self.workers))].popen.pid
        os.killpg(group, signal.SIGSTOP)
        self.let_pass(self.random.uniform(2.0, 8.0))
        os.killpg(group, signal.SIGCONT)

    def broker_killed(self) -> None:
        """SIGKILL; its queue is gone."""
        self.stack.valkey.kill()
        self.let_pass(self.random.uniform(0.0, 3.0))
        self.stack.valkey.start()

    def broker_flushed(self) -> None:
        """FLUSHALL."""
        redis.Redis.from_url(self.stack.valkey.client_url).flushall()

    def postgres_killed(self) -> None:
        """SIGKILL; it recovers from its log."""
        self.stack.postgres.kill()
        self.stack.postgres.start()

    def vault_stopped(self) -> None:
        """Away, and sealed until it is back."""
        self.stack.openbao.stop()
        self.let_pass(self.random.uniform(0.0, 3.0))
        self.stack.openbao.start()

    def vendor_errors(self) -> None:
        """500 to every managing call for some seconds."""
        self._vendor("create", "delete", "get", kind="status", status=500, body="x")

    def vendor_limits(self) -> None:
        """429 with Retry-After."""
        headers = {"Retry-After": "1"}
        body = {"success": False, "code": "RATE_LIMITED"}
        self._vendor("create", "get", kind="status", status=429, body=body, headers=headers)

    def vendor_cuts(self) -> None:
        """The call is carried out and its answer is lost."""
        for route in ("create", "delete", "disable"):
            self.vendor.fault(route, kind="execute_then_cut", times=self.random.randint(1, 3))

    def vendor_lags(self) -> None:
        """Slow answers."""
        self._vendor("usage", "create", kind="delay", seconds=1.0)

    def last_use_never(self) -> None:
        """Null for each key, as for one that was never used."""
        self._last_use(last_use_shown="null")

    def last_use_coarse(self) -> None:
        """Rounded down to the day."""
        self._last_use(last_use_resolution=86400)

    def last_use_late(self) -> None:
        """What is told was true some minutes ago."""
        self._last_use(last_use_lag=self.random.choice((60, 3600)))

    def gateway_404(self) -> None:
        """A gateway in front of the vendor knows no such page."""
        page = "<html><body>404 page not found</body></html>"
        self._vendor("get", kind="status", status=404, body=page)

    def old_key_ended_early(self) -> None:
        """Somebody deletes an old key in the dashboard while its holders still move."""
        ended = False
        # The database that was killed a moment ago may not be back yet: another time, then.
        with suppress(AnyDatabaseError, OSError):
            ended = self.world.odd.end_one_early(self.vendor)
        connection.close_if_unusable_or_obsolete()
        if not ended:
            self.done["old key ended early"] -= 1

    def _last_use(self, **lie: Any) -> None:
        account = self.world.place.vendor_api["id"]
        self.vendor.patch_account(account, **lie)
        # Longer than the quiet period: a lie that lasts is the one that is believed.
        self.let_pass(self.random.uniform(15.0, 30.0))
        self.vendor.patch_account(account, **_HONEST)

    def _vendor(self, *routes: str, **fault: Any) -> None:
        ordered = [self.vendor.fault(route, times=None, **fault) for route in routes]
        self.let_pass(self.random.uniform(2.0, 6.0))
        for one in ordered:
            self.vendor.clear_faults(one)
