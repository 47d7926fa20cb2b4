"""WSGI entry point for gunicorn; keyvault/web_server.py says how it takes connections.

With `--preload` this is loaded once, and the workers share its memory for as long as none of them
writes to it: hence all routes at once, and no garbage collection that would touch what lives on.
"""

import gc
import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "keyvault.settings")

application = get_wsgi_application()
import_module(settings.ROOT_URLCONF)
gc.collect()
gc.freeze()
