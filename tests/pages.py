"""What tests of pages share: a signed-in client, a page's text, and the statements it takes."""

import html
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.api_client import sign_in


def as_(client: Client, member: Any) -> Client:
    """Sign a member in at this client."""
    sign_in(client, member)
    return client


def text(answer: Any) -> str:
    """Return an answer's text as people read it: without entities, each run of spaces one space."""
    return " ".join(html.unescape(answer.content.decode()).split())


def statements(client: Client, address: str) -> int:
    """Return how many SQL statements a page takes."""
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)
