"""The Celery application; everything else about tasks stands in settings and in rotation/tasks.py."""

import gc
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_before_create_process
from django.conf import settings
from django.utils.log import configure_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyvault.settings")

# `celery beat` sends the names of tasks and runs none: without models, routes and the tasks
# themselves it takes half the memory.
IS_CLOCK = "beat" in sys.argv[1:] and "worker" not in sys.argv

app = Celery("keyvault", fixups=[] if IS_CLOCK else None)
app.config_from_object("django.conf:settings", namespace="CELERY")
if IS_CLOCK:
    configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)
else:
    app.autodiscover_tasks()


@worker_before_create_process.connect
def _share_memory(**_: Any) -> None:
    """Let the pool's processes share what is loaded: a collection would write to all of it."""
    gc.freeze()
