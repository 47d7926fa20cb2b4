"""A task that does nothing but as many SQL statements and HTTP calls as a rotation needs."""

import os

import requests
from celery import shared_task
from django.db import connection

_session = requests.Session()


@shared_task(name="bench.bare")
def bare(row_id: int) -> None:
    """Do what BENCH_BARE says: reads, writes that commit, and calls to two addresses."""
    reads, writes, *calls = os.environ["BENCH_BARE"].split()
    with connection.cursor() as cursor:
        for _ in range(int(reads)):
            cursor.execute("SELECT id, name, settings FROM keyvault_account WHERE id = 1")
        for _ in range(int(writes)):
            cursor.execute(
                "UPDATE rotation_heartbeat SET at = now() WHERE name = %s", [f"bare {row_id}"]
            )
    for one in calls:
        count, _, url = one.partition("x")
        for _ in range(int(count)):
            _session.get(url, timeout=10)
