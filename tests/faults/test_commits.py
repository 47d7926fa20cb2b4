"""A COMMIT whose answer never comes: done or not done, the next worker finds out and goes on."""

import os

import pytest

from rotation.models import Step
from tests.faults.proxy import commit_cutter
from tests.faults.worker import Worker
from tests.oracle import assert_all_is_well, creates


def through(port):
    """Return what makes a forked worker speak to Postgres through the proxy."""

    def switch():
        from django.conf import settings
        from django.db import connections

        for alias in ("default", "audit"):
            settings.DATABASES[alias].update(HOST="127.0.0.1", PORT=port)
            connections[alias].settings_dict.update(HOST="127.0.0.1", PORT=port)

    return switch


@pytest.mark.parametrize("nth", [2, 5, 8, 11])
def test_a_commit_without_an_answer_is_looked_up_and_not_repeated(stack, world, nth):
    """F6: the proxy lets the n-th COMMIT through and cuts the line before its answer."""
    target = f"{stack.postgres._sockets()}/.s.PGSQL.5432"
    with commit_cutter(target, nth) as proxy:
        worker = Worker(stack, world.rotation.pk, before=through(proxy.port))
        status = worker.wait()
        assert proxy.cut
    assert os.WIFEXITED(status)
    end = world.finish()
    assert end.step == Step.DONE
    assert creates(world.vendor, world.place.vendor_api) <= 2
    assert len(world.alive()) == 1
    assert_all_is_well(world.vendor, world.place)
