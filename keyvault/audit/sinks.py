"""Send each signed checkpoint to places outside, so that no one who rules the database can deny it.

A syslog server and a webhook, each with its own mark of how far it got: what is away misses nothing,
it gets the rest later. A checkpoint holds numbers and hashes only; nothing in it is secret.
"""

import json
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime

import requests
from django.conf import settings
from django.utils import timezone
from requests_hardened import Config, Manager

from keyvault.audit.models import Checkpoint, CheckpointExport

log = logging.getLogger(__name__)
_BATCH = 200
_SECONDS = 5.0
# Facility "log audit" (13), severity "notice" (5).
_PRIORITY = 13 * 8 + 5


def send_all() -> None:
    """Send what each place has not had yet; what fails is noted and tried again the next time."""
    for target, send in _targets():
        mark, _ = CheckpointExport.objects.get_or_create(target=target)
        for checkpoint in Checkpoint.objects.filter(pk__gt=mark.last_id).order_by("pk")[:_BATCH]:
            try:
                send(checkpoint)
            except (OSError, requests.RequestException) as error:
                _note(mark, error=f"{type(error).__name__}")
                log.warning("audit checkpoint not sent", extra={"target": target})
                break
            mark.last_id = checkpoint.pk
            _note(mark)


def _note(mark: CheckpointExport, error: str = "") -> None:
    mark.error = error
    if not error:
        mark.sent_at = timezone.now()
    mark.save()


def _targets() -> list[tuple[str, Callable[[Checkpoint], None]]]:
    found: list[tuple[str, Callable[[Checkpoint], None]]] = []
    if settings.AUDIT_SYSLOG:
        found.append(("syslog", _to_syslog))
    if settings.AUDIT_WEBHOOK_URL:
        found.append(("webhook", _to_webhook))
    return found


def _line(checkpoint: Checkpoint) -> str:
    return json.dumps({"text": checkpoint.text, "signature": checkpoint.signature})


def _to_syslog(checkpoint: Checkpoint) -> None:
    """Send one RFC 5424 message over TCP, counted in octets (RFC 6587); raises OSError."""
    host, _, port = settings.AUDIT_SYSLOG.rpartition(":")
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = f"<{_PRIORITY}>1 {at} {socket.gethostname()} keyvault - checkpoint - {_line(checkpoint)}"
    message = text.encode()
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as link:
        link.sendall(f"{len(message)} ".encode() + message)
        # A server that is gone is often noticed only by what it says to the end of our side.
        link.shutdown(socket.SHUT_WR)
        link.recv(1)


def _to_webhook(checkpoint: Checkpoint) -> None:
    """Post the export line; raises for any answer but a success."""
    config = Config(
        default_timeout=(_SECONDS, _SECONDS),
        never_redirect=True,
        ip_filter_enable=True,
        ip_filter_allow_loopback_ips=settings.ALLOW_LOOPBACK_TARGETS,
    )
    with Manager(config).get_session() as session:
        session.trust_env = False
        answer = session.post(
            settings.AUDIT_WEBHOOK_URL,
            data=_line(checkpoint).encode(),
            headers={"Content-Type": "application/json"},
        )
    if not 200 <= answer.status_code < 300:
        raise requests.HTTPError(f"answered {answer.status_code}")
