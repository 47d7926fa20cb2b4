"""What a Prometheus server may scrape: computed from rows at each scrape, so that it is right

whichever process answers, and however often they restart.
"""

from collections.abc import Iterator
from typing import Any

from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rotation import dependencies
from rotation.monitoring import status

# Each in one statement, over what has an index or is small: name, help, labels, query.
_COUNTS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "keyvault_keys",
        "Keys by the age of their current secret.",
        ("age",),
        """SELECT CASE WHEN v.id IS NULL THEN 'none' WHEN v.published_at > now() - interval '30 days'
            THEN 'below 30 days' WHEN v.published_at > now() - interval '90 days'
            THEN '30 to 90 days' WHEN v.published_at > now() - interval '365 days'
            THEN '90 to 365 days' ELSE 'above 365 days' END, count(*)
        FROM keyvault_apikey k LEFT JOIN keyvault_keyversion v ON v.id = k.current_id GROUP BY 1""",
    ),
    (
        "keyvault_current_checks",
        "Current secrets by the vendor's last answer.",
        ("answer",),
        """SELECT coalesce(nullif(check_answer, ''), 'never asked'), count(*)
        FROM keyvault_keyversion WHERE state = 'current' GROUP BY 1""",
    ),
    (
        "keyvault_keys_due_7_days",
        "Keys whose policy makes them due within 7 days.",
        (),
        """SELECT count(*) FROM rotation_rotationpolicy
        WHERE enabled AND next_run_at < now() + interval '7 days'""",
    ),
    (
        "keyvault_secrets_expiring_7_days",
        "Current secrets that end within 7 days.",
        (),
        """SELECT count(*) FROM keyvault_keyversion
        WHERE state = 'current' AND expires_at < now() + interval '7 days'""",
    ),
    (
        "keyvault_rotations_open",
        "Open rotations by step and what they wait for.",
        ("step", "waiting_for"),
        """SELECT step, waiting_for, count(*) FROM rotation_rotation
        WHERE finished_at IS NULL GROUP BY 1, 2""",
    ),
    (
        "keyvault_rotations_ended",
        "Rotations that ended, by outcome.",
        ("outcome",),
        """SELECT step, count(*) FROM rotation_rotation
        WHERE finished_at IS NOT NULL GROUP BY 1""",
    ),
    (
        "keyvault_tasks_open",
        "Open tasks for people by kind.",
        ("kind",),
        "SELECT kind, count(*) FROM rotation_humantask WHERE closed_at IS NULL GROUP BY 1",
    ),
    (
        "keyvault_deliveries_waiting",
        "Webhooks that wait to be sent.",
        (),
        "SELECT count(*) FROM rotation_delivery WHERE state = 'waiting'",
    ),
)


class _Everything(Collector):
    def collect(self) -> Iterator[Metric]:
        for name, text, labels, query in _COUNTS:
            family = GaugeMetricFamily(name, text, labels=labels)
            for *values, count in _rows(query):
                family.add_metric([str(value) for value in values], count)
            yield family
        yield from _vitals()


def _rows(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _vitals() -> Iterator[Metric]:
    seen, vault, broker = status.look(), dependencies.vault_state(), dependencies.broker_facts()
    never = float("inf")

    def age(seconds: float | None) -> float:
        return never if seconds is None else seconds

    for name, text, value in (
        ("keyvault_loop_age_seconds", "Since the loop last ran.", age(seen.tick_age)),
        ("keyvault_workers", "Workers that took work within 2 minutes.", seen.workers),
        ("keyvault_oldest_due_age_seconds", "Of the longest due rotation.", seen.oldest_due_age),
        ("keyvault_keys_overdue", "Keys more than an hour overdue.", seen.overdue_keys),
        (
            "keyvault_oldest_delivery_age_seconds",
            "Of the longest waiting webhook.",
            seen.oldest_delivery_age,
        ),
        (
            "keyvault_checkpoint_age_seconds",
            "Since an audit checkpoint was signed.",
            age(seen.checkpoint_age),
        ),
        ("keyvault_audit_unsealed_rows", "Audit rows after the last one.", seen.unsealed_rows),
        (
            "keyvault_audit_oldest_unsealed_age_seconds",
            "Of the audit row that has waited longest to be signed.",
            seen.oldest_unsealed_age,
        ),
        ("keyvault_reconcile_age_seconds", "Since the comparison ran.", age(seen.reconcile_age)),
        ("keyvault_outages", "Vendors and stores known to be away.", seen.outages),
        ("keyvault_deletion_frozen", "1 while nothing may be deleted.", bool(seen.frozen)),
        ("keyvault_database_skew_seconds", "The database's clock minus ours.", seen.database_skew),
        ("keyvault_vault_up", "1 while Vault is unsealed and can be read.", bool(vault["active"])),
        ("keyvault_audit_writable", "1 while audit rows can be written.", dependencies.audit()),
        ("keyvault_vault_skew_seconds", "Vault's clock minus ours.", status.vault_skew(vault)),
        ("keyvault_broker_up", "1 while the broker answers.", broker.there),
        ("keyvault_queue_length", "Messages that wait in the queue.", broker.queued),
    ):
        yield GaugeMetricFamily(name, text, value=float(value))


def text() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Everything())
    return generate_latest(registry)
