"""The program in README, run as it stands there against the service, and what the shell would get."""

import os
import subprocess
import sys
from typing import Any

import pytest

from rotation.consumers import adoption, registry
from tests.factories import make_key, secret_of
from tests.guards import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM = README.split("```python\n", 1)[1].split("```", 1)[0]
USE = """
import json, sys
secret, version, etag = fetch()
acknowledge(secret, version)
json.dump({"secret": secret, "version": version, "again": fetch(etag)}, sys.stdout)
"""


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> Any:
    return make_key(vendor, place, people.owner)


@pytest.fixture
def settings_of_the_program(live_url: str, place: Any, people: Any, key: Any) -> dict[str, str]:
    added = registry.add_consumer(people.owner, "readme", place.application, place.environment)
    return {
        "KEYVAULT_URL": live_url,
        "KEYVAULT_TOKEN": added.token.reveal(),
        "KEYVAULT_KEY_ID": str(key.pk),
    }


def test_the_program_fetches_acknowledges_and_asks_again_for_nothing(
    key: Any, settings_of_the_program: dict[str, str]
) -> None:
    assert len(adoption.not_moved(key, key.current)) == 1
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + USE],
        env={"PATH": os.environ["PATH"], **settings_of_the_program},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = f'{{"secret": "{secret_of(key.current)}", "version": 1, "again": null}}'
    assert done.stdout == expected
    assert adoption.not_moved(key, key.current) == []


def test_the_line_for_the_shell_gives_the_bare_key(
    key: Any, settings_of_the_program: dict[str, str]
) -> None:
    import requests

    # curl is not everywhere; what it would pipe is asked for here, what takes it apart is README's.
    url = f"{settings_of_the_program['KEYVAULT_URL']}/api/v1/keys/{key.pk}/secret"
    token = settings_of_the_program["KEYVAULT_TOKEN"]
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    script = README.split("| python3 -c '", 1)[1].split("'", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=answer.text,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == secret_of(key.current)
