"""Find our own keys in source trees, build output and logs, and rotate those that still live.

Exit codes: 0 nothing found, 1 found, 4 nothing found but something could not be searched.
"""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from keyvault.access.permissions import Permission, may, visible_keys
from keyvault.audit.actors import member_actor
from keyvault.audit.log import record
from keyvault.audit.models import Action
from keyvault.core.redaction import one_line
from keyvault.inventory.leak_scan import Hit, Report, index, scan, scan_stream
from keyvault.management.base import ServiceCommand, acting_member, add_by, wrong_usage
from keyvault.models import LIVE_STATES, KeyVersion, Member
from rotation.engine.lifecycle import start
from rotation.models import Reason

CLEAN, FOUND, PARTLY = 0, 1, 4
_MOST_TOLD = 20


class Command(ServiceCommand):
    help = "Find our own keys in files; --rotate withdraws those that still live, without waiting."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", nargs="+", help="Files or folders; - for standard input.")
        parser.add_argument(
            "--rotate",
            action="store_true",
            help="Start a rotation with reason leak for each live key found: it waits for nobody.",
        )
        add_by(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        by = acting_member(options)
        report = _search(options["path"], by)
        found = _described(report.hits)
        _note(by, found)
        rotated = _rotate(by, found) if options["rotate"] else {}
        self.say(options, _answer(report, found, rotated), _told(report, found, rotated))
        sys.exit(FOUND if found else PARTLY if report.not_searched else CLEAN)


def _search(names: list[str], by: Member) -> Report:
    known = index(KeyVersion.objects.filter(key__in=visible_keys(by)))
    paths = [Path(name) for name in names if name != "-"]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise wrong_usage(f"There is no {', '.join(missing)}. Nothing was searched.")
    report = scan(paths, known)
    if "-" in names:
        scan_stream(sys.stdin.buffer, "standard input", known, report)
    return report


def _described(hits: list[Hit]) -> list[tuple[Hit, KeyVersion]]:
    versions = KeyVersion.objects.select_related("key__account", "key__environment").in_bulk(
        [hit.version_id for hit in hits]
    )
    return [(hit, versions[hit.version_id]) for hit in hits if hit.version_id in versions]


def _note(by: Member, found: list[tuple[Hit, KeyVersion]]) -> None:
    """Put each version found on record once, with the first places."""
    for version in {version.pk: version for _, version in found}.values():
        places = [f"{hit.file}:{hit.line}" for hit, one in found if one.pk == version.pk]
        record(
            Action.VERSION_LEAKED,
            member_actor(by),
            version,
            reason="found in a file",
            places=places[:_MOST_TOLD],
            found=len(places),
        )


def _rotate(by: Member, found: list[tuple[Hit, KeyVersion]]) -> dict[int, str]:
    """Start or join a rotation for each live key found; returns what came of it, by key."""
    rotated: dict[int, str] = {}
    for _, version in found:
        if version.state not in LIVE_STATES or version.key_id in rotated:
            continue
        if not may(by, Permission.ROTATE, version.key):
            rotated[version.key_id] = "not rotated: your role does not let you"
            continue
        rotation, new = start(by, version.key, Reason.LEAK)
        rotated[version.key_id] = f"rotation {rotation.pk} {'started' if new else 'joined'}"
    return rotated


def _answer(
    report: Report, found: list[tuple[Hit, KeyVersion]], rotated: dict[int, str]
) -> dict[str, Any]:
    return {
        "files": report.files,
        "bytes": report.bytes,
        "not_searched": report.not_searched,
        "found": [
            {
                "key": version.key_id,
                "name": str(version.key),
                "version": version.number,
                "state": version.state,
                "file": hit.file,
                "line": hit.line,
                "form": hit.form,
                "rotation": rotated.get(version.key_id, ""),
            }
            for hit, version in found
        ],
    }


def _told(report: Report, found: list[tuple[Hit, KeyVersion]], rotated: dict[int, str]) -> str:
    lines = [
        # As grep does it, never cut short: editors and scripts read the place.
        *(
            f"{one_line(hit.file, 4096)}:{hit.line}: {version}, {version.state} ({hit.form})"
            for hit, version in found
        ),
        *([] if found else ["None of our keys found."]),
        f"{report.files} files, {report.bytes / 1e6:.1f} MB searched.",
        *(f"Not searched: {name}" for name in report.not_searched),
        *(f"Key {key_id}: {what}" for key_id, what in rotated.items()),
    ]
    if any(version.state in LIVE_STATES for _, version in found) and not rotated:
        lines.append("Live keys were found: run again with --rotate, or rotate them by hand.")
    return "\n".join(lines)
