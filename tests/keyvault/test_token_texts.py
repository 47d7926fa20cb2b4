"""F6: however often a token is renewed, each text that is in use works for its overlap."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, connections, transaction
from django.test import Client
from django.utils import timezone

from keyvault.core.errors import Conflict
from keyvault.delivery import fetch, token_secrets, tokens
from keyvault.delivery.tokens import TokenRefused
from keyvault.models import ApiKey, Role, ServiceToken, TokenDisclosure
from tests.api_client import Api, counting, sign_in
from tests.factories import grant, make_key, make_member
from tests.keyvault.test_tokens import everything_in_the_database


@pytest.fixture
def key(vendor: Any, place: Any, people: Any) -> ApiKey:
    return make_key(vendor, place, people.owner)


@pytest.fixture
def first(people: Any, place: Any) -> str:
    return tokens.issue(people.owner, "batch", place.application, place.environment)[1].reveal()


@pytest.fixture
def token(first: str) -> ServiceToken:
    return ServiceToken.objects.get()


@pytest.fixture
def later() -> Iterator[Any]:
    """Let time pass for whoever asks."""
    with time_machine.travel(timezone.now()) as traveller:
        yield traveller


def renew(people: Any, token: ServiceToken, seconds: int = 86400) -> str:
    return tokens.renew(people.owner, token, overlap_seconds=seconds).reveal()


def opens(text: str, key: ApiKey) -> bool:
    try:
        return fetch.fetch(text, key.pk).secret is not None
    except TokenRefused:
        return False


def test_renewed_twice_the_running_program_goes_on(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    """F6: T0 was refused at once after the second renewal."""
    assert opens(first, key)
    second, third = renew(people, token), renew(people, token)
    assert [opens(text, key) for text in (first, second, third, first)] == [True] * 4
    assert tokens.check(first) == tokens.check(second) == token


def test_six_renewals_at_once_show_six_texts_that_open(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    """F6: four of the six never opened."""

    # Six owners: what one person does at once comes one after the other anyhow.
    owners = [grant(make_member(f"owner-{n}@example.com"), Role.OWNER) for n in range(6)]
    ready = threading.Barrier(6)

    def one(number: int) -> str:
        ready.wait(10)
        try:
            return tokens.renew(owners[number], token).reveal()
        finally:
            connection.close()
            connections["audit"].close()

    with ThreadPoolExecutor(6) as pool:
        shown = list(pool.map(one, range(6)))
    assert all(opens(text, key) for text in [first, *shown])
    assert TokenDisclosure.objects.filter(ends_at=None).count() == 1
    assert TokenDisclosure.objects.count() == 7


def test_each_former_text_ends_at_its_own_time(
    people: Any, key: ApiKey, first: str, token: ServiceToken, later: Any
) -> None:
    second = renew(people, token, 600)
    third = renew(people, token, 3600)
    later.shift(timedelta(seconds=601))
    assert [opens(text, key) for text in (first, second, third)] == [False, True, True]
    later.shift(timedelta(seconds=3600))
    assert [opens(text, key) for text in (first, second, third)] == [False, False, True]


def test_without_an_overlap_every_former_text_ends_now(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    second = renew(people, token)
    third = renew(people, token, 0)
    assert [opens(text, key) for text in (first, second, third)] == [False, False, True]
    assert not TokenDisclosure.objects.filter(ends_at__gt=timezone.now()).exists()


def test_what_was_never_used_makes_room_and_what_is_in_use_never_does(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    """F6: bounded in number; when all are in use, nothing is renewed."""
    assert opens(first, key)
    never = [renew(people, token) for _ in range(3)]
    used = []
    for _ in range(token_secrets.MOST_FORMER):
        used.append(renew(people, token))
        assert opens(used[-1], key)
    token.refresh_from_db()
    assert len(token.formers) == token_secrets.MOST_FORMER
    assert not any(opens(text, key) for text in never)
    assert all(opens(text, key) for text in [first, *used])
    with pytest.raises(Conflict, match="Nothing was renewed"):
        renew(people, token)
    assert all(opens(text, key) for text in [first, *used])


def test_revoking_ends_all_of_them(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    texts = [first, renew(people, token), renew(people, token)]
    tokens.revoke(people.owner, token)
    assert not any(opens(text, key) for text in texts)
    token.refresh_from_db()
    assert token_secrets.open_formers(token) == []


def test_the_use_of_each_text_is_noted_apart(
    people: Any, key: ApiKey, first: str, token: ServiceToken, later: Any
) -> None:
    """Else the one in use would make room for one that is not."""
    second = renew(people, token)
    third = renew(people, token)
    for _ in range(2):
        assert opens(first, key)
        assert opens(third, key)
        later.shift(timedelta(seconds=61))
    token.refresh_from_db()
    used = {one["used_at"] is not None for one in token_secrets.open_formers(token)}
    assert used == {True, False}
    assert token_secrets.used_at(token, token_secrets.PRESENT) is not None
    newest, oldest = token_secrets.open_formers(token)
    assert newest["used_at"] is None, "the second was never used"
    assert oldest["used_at"] is not None
    assert second


def test_no_statement_more_is_sent_for_them(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    """F6: whole way and memory alike."""
    with counting() as whole:
        assert opens(first, key)
    with counting() as again:
        assert opens(first, key)
    for _ in range(4):
        renew(people, token)
    with counting() as former:
        assert opens(first, key)
    with counting() as former_again:
        assert opens(first, key)
    assert len(former) <= len(whole)
    assert len(former_again) == len(again)


def test_an_end_that_was_moved_counts_for_what_is_in_memory(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    renew(people, token)
    assert opens(first, key)
    assert opens(first, key)
    with transaction.atomic():
        token_secrets.end(TokenDisclosure.objects.filter(token=token), timezone.now())
    assert not opens(first, key)


def test_the_api_names_them_without_what_opens(
    people: Any, key: ApiKey, first: str, token: ServiceToken
) -> None:
    assert opens(first, key)
    renew(people, token)
    answer = Api(people.owner).get(f"tokens/{token.pk}/")
    (former,) = answer.json["former_texts"]
    assert former["shown_to"] == str(people.owner)
    assert former["ends_at"] > former["shown_at"]
    assert former["used_at"] is not None
    token.refresh_from_db()
    assert token.formers[0]["digest"] not in answer.text
    assert first[:-8] not in everything_in_the_database()


def shown(client: Client, response: Any) -> str:
    match = tokens.PATTERN.search(response.content.decode())
    assert match, response.content.decode()
    return match[0]


@pytest.mark.parametrize("page", ["tokens", "application"])
def test_the_result_page_is_loaded_again_without_a_second_renewal(
    people: Any, place: Any, key: ApiKey, first: str, token: ServiceToken, page: str
) -> None:
    """F6: F5 on the result page renewed once more, and cut the program off."""
    from rotation.models import Consumer

    client = sign_in(Client(), people.owner)
    where = f"/tokens/{token.pk}/renew"
    if page == "application":
        consumer = Consumer.objects.create(
            application=place.application, environment=place.environment, name="c", token=token
        )
        where = f"/applications/{place.application.pk}/consumers/{consumer.pk}/renew"
    answer = client.post(where)
    assert answer.status_code == 302
    text = client.get(answer["Location"])
    assert text["Cache-Control"] == "no-store, private"
    assert shown(client, text) == shown(client, client.get(answer["Location"]))
    assert TokenDisclosure.objects.count() == 2
    assert opens(shown(client, text), key)
    assert opens(first, key)
    assert "Former texts that still open" in text.content.decode()
    assert str(people.owner) in text.content.decode()


def test_what_is_shown_once_is_for_one_person_one_browser_and_five_minutes(
    people: Any, key: ApiKey, first: str, token: ServiceToken, later: Any
) -> None:
    client = sign_in(Client(), people.owner)
    where = client.post(f"/tokens/{token.pk}/renew")["Location"]
    text = shown(client, client.get(where))
    held = client.cookies[next(name for name in client.cookies if "shown" in name)]
    assert text not in held.value
    assert (held["httponly"], held["samesite"], held["path"]) == (True, "Strict", where)
    other = sign_in(Client(), people.operator)
    other.cookies[held.key] = held.value
    assert other.get(where).status_code == 404
    assert sign_in(Client(), people.owner).get(where).status_code == 404
    assert text not in everything_in_the_database()
    later.shift(timedelta(seconds=301))
    gone = client.get(where)
    assert gone.status_code == 404
    assert "cuts off no program" in gone.content.decode()
