"""Archive closed months of the audit log into files, and drop them from the database.

Runs as the role that owns the tables (DATABASE_OWNER_URL). Exit 0 when all that was due is archived.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.utils import timezone

from keyvault.audit import archive
from keyvault.management.base import Error, ServiceCommand, system_user, table, wrong_usage


class Command(ServiceCommand):
    help = "Write closed months of the audit log to files, prove them, and drop them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "folder", type=Path, help="Where the files go; keep them elsewhere too."
        )
        parser.add_argument(
            "--keep-days",
            type=int,
            default=92,
            metavar="DAYS",
            help="Leave what ended within the last so many days (92) where it is.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _require(options)
        archive.rotate_partition()
        before = timezone.now() - timedelta(days=options["keep_days"])
        reason = f"archiveaudit run by {system_user()}"
        try:
            done = [
                archive.archive(part, options["folder"], reason) for part in archive.due(before)
            ]
        except OSError as error:
            raise Error(f"The file could not be written: {error.strerror}.") from None
        told = [{**vars(one), "file": str(one.file)} for one in done]
        cells = [(row["file"], row["rows"], row["sha256"]) for row in told]
        self.say(options, told, table(("File", "Rows", "SHA-256"), cells, empty="Nothing is due."))


def _require(options: dict[str, Any]) -> None:
    if "owner" not in settings.DATABASES:
        raise wrong_usage("Only the owner of the tables can drop them: set DATABASE_OWNER_URL.")
    if options["keep_days"] < 0:
        raise wrong_usage("--keep-days must be 0 or more.")
    if not options["folder"].is_dir():
        raise wrong_usage(f"{options['folder']} is not a folder.")
