"""P1 to P3: an application's fetches, beside a read of the same secret from the store itself."""

import os
from contextlib import ExitStack
from typing import Any

from tests.bench.figures import Figure, middle
from tests.bench.load import Load, ask

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
KEYS = 100


def measure(stack: Any) -> list[Figure]:
    """Load store, fetch, unchanged fetch and fetch of 100 keys in turn, so many rounds."""
    from tests.soak import scene

    with ExitStack() as running:
        vendor = running.enter_context(scene.vendor(stack))
        # As in production: see docker-compose.yml.
        url = running.enter_context(scene.web(stack, workers=2, threads=4))
        asked = _asked(stack, vendor, url)
        loads: dict[str, list[Load]] = {name: [] for name in asked}
        for address, headers in asked.values():
            ask(address, headers, 1)
        for _ in range(ROUNDS):
            for name, (address, headers) in asked.items():
                loads[name].append(ask(address, headers, SECONDS))
    rate = {name: middle([load.rate for load in all_]) for name, all_ in loads.items()}
    cpu = {name: middle([load.cpu_ms for load in all_]) for name, all_ in loads.items()}
    return [
        Figure("P0_store_read", rate["store"], "req/s", None, 0),
        Figure("P0_store_read_cpu", cpu["store"], "ms", None, 0),
        Figure("P1_audited_fetch", rate["fetch"], "req/s", rate["fetch"] / rate["store"], 1.0),
        Figure("P1_audited_fetch_cpu", cpu["fetch"], "ms", None, 0.6, most=True),
        Figure("P2_unchanged_fetch", rate["same"], "req/s", rate["same"] / rate["fetch"], 1.5),
        Figure("P2_unchanged_fetch_cpu", cpu["same"], "ms", None, 0),
        Figure(
            f"P3_fetch_of_{KEYS}_keys", rate["all"], "req/s", rate["fetch"] / rate["all"], 5, True
        ),
    ]


def _asked(stack: Any, vendor: Any, url: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Record the keys; return what is asked, by name: address and headers."""
    import requests

    from keyvault.delivery import tokens
    from tests.factories import make_key, make_people, make_place
    from tests.keyvault.vault import inspector

    place = make_place(vendor)
    people = make_people(place)
    key = make_key(vendor, place, people.owner)
    for number in range(KEYS):
        make_key(vendor, place, people.owner, name=f"{number}", environment=place.production)
    mine = {
        environment: {
            "Authorization": "Bearer "
            + tokens.issue(people.owner, "bench", place.application, environment)[1].reveal()
        }
        for environment in (place.environment, place.production)
    }
    assert key.current is not None
    path = f"{stack.openbao.address}/v1/keyvault/data/keys/{key.current.path}"
    one = f"{url}/api/v1/keys/{key.pk}/secret"
    of_all = f"{url}/api/v1/applications/{place.application.pk}/environments/{place.production.pk}"
    tag = requests.get(one, headers=mine[place.environment], timeout=10).headers["ETag"]
    return {
        "store": (path, {"X-Vault-Token": str(inspector(stack.openbao).token)}),
        "fetch": (one, mine[place.environment]),
        "same": (one, {**mine[place.environment], "If-None-Match": tag}),
        "all": (f"{of_all}/secrets", mine[place.production]),
    }
