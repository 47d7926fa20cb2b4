"""Pages about keys and people, asked as a browser would, without one."""

import html

import pytest
from django.urls import reverse
from django.utils import timezone

from keyvault.audit.models import AuditEvent
from keyvault.inventory import export_formats
from keyvault.models import ApiKey, KeyVersion
from tests.factories import make_key, secret_of
from tests.pages import as_


@pytest.fixture
def key(vendor, place, people):
    return make_key(vendor, place, people.owner, name="Video upload")


def last(action):
    return AuditEvent.objects.filter(action=action).first()


def body(answer):
    return answer.content.decode()


def new_key(place, **changes):
    return {
        "account": place.api_account.pk,
        "environment": place.environment.pk,
        "application": place.application.pk,
        "name": "Fresh",
        **changes,
    }


def test_sign_in_takes_the_address_in_any_case(client, people):
    answer = client.post("/sign-in", {"login": "OWNER@example.com", "password": people.password})
    assert answer.status_code == 302
    assert answer["Location"] == "/"
    row = last("member.signed_in")
    assert (row.object_id, row.outcome) == (str(people.owner.pk), "ok")


def test_a_wrong_password_and_an_unknown_address_read_alike(client, people):
    known = client.post("/sign-in", {"login": "owner@example.com", "password": "not this one"})
    assert last("member.sign_in_failed").object_id == str(people.owner.pk)
    unknown = client.post("/sign-in", {"login": "nobody@example.com", "password": "not this"})
    assert last("member.sign_in_failed").object_id == ""
    assert (known.status_code, unknown.status_code) == (400, 400)
    words = [answer.content.decode().replace("nobody@", "owner@") for answer in (known, unknown)]
    assert stripped(words[0]) == stripped(words[1])


def stripped(page):
    """Return the page without its request token."""
    return [line for line in page.splitlines() if "csrfmiddlewaretoken" not in line]


def test_what_was_typed_at_a_failed_sign_in_is_not_recorded(client, people):
    client.post("/sign-in", {"login": "my-own-password-1234", "password": "x"})
    assert not AuditEvent.objects.filter(payload__contains="my-own-password").exists()


def test_nobody_gets_in_who_was_switched_off(client, people):
    people.owner.is_active = False
    people.owner.save()
    answer = client.post("/sign-in", {"login": "owner@example.com", "password": people.password})
    assert answer.status_code == 400


def test_sign_in_does_not_lead_to_another_site(client, people):
    answer = client.post(
        "/sign-in?next=https://evil.example/",
        {
            "login": "owner@example.com",
            "password": people.password,
            "next": "https://evil.example/",
        },
    )
    assert answer["Location"] == "/"


def test_sign_out_is_by_post_and_on_record(client, people):
    as_(client, people.owner)
    assert client.get("/sign-out")["Location"] == "/"
    assert client.get("/").status_code == 200
    assert client.post("/sign-out").status_code == 302
    assert last("member.signed_out").actor_id == str(people.owner.pk)
    assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    "name", ["home", "keys", "key-new", "rotations", "applications", "accounts", "audit"]
)
def test_every_page_asks_who_is_there(client, people, name):
    answer = client.get(reverse(name))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in?next=")


def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(client, people):
    answer = client.get(
        "/health/line",
        headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/rotations/7/"},
    )
    assert answer["HX-Redirect"] == "/sign-in?next=/rotations/7/"


def test_a_key_is_recorded_by_the_form(client, vendor, place, people):
    made = vendor.create_key(place.vendor_api["id"])
    as_(client, people.operator)
    sent = new_key(place, secret=f"  {made['key']}\n", vendor_id=made["id"])
    answer = client.post("/keys/new/", sent, follow=True)
    assert answer.status_code == 200
    key = ApiKey.objects.get(name="Fresh")
    assert secret_of(key.current) == made["key"]
    assert b"White space around the key was removed" in answer.content
    assert made["key"].encode() not in answer.content


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "This field is required"),
        ("inf_****************abcd", "masked key"),
        ("two words of a key", "white space inside"),
        ("inf_" + "x1y2z3w4" * 5, "vendor refuses"),
        ("k" * 10_000, "has 10,000 characters"),
        ("inf_ключ12345678901234567890", "which no API key contains"),
        ("inf_\x00" + "a1b2c3d4" * 5, "Null characters"),
    ],
)
def test_an_unusable_key_is_refused_and_not_shown_again(client, place, people, pasted, said):
    as_(client, people.operator)
    answer = client.post("/keys/new/", new_key(place, secret=pasted))
    assert answer.status_code == 400
    page = answer.content.decode()
    assert said in page
    assert "Fresh" in page  # the rest of the form is kept
    assert not (pasted and pasted in page)
    assert not ApiKey.objects.exists()


def test_a_duplicate_says_of_which_key(client, place, people, key):
    as_(client, people.operator)
    answer = client.post("/keys/new/", new_key(place, secret=secret_of(key.current)))
    assert answer.status_code == 409
    assert "Video upload" in answer.content.decode()
    assert secret_of(key.current) not in answer.content.decode()


def test_choices_of_others_are_refused(client, place, people):
    as_(client, people.outsider)
    answer = client.post("/keys/new/", new_key(place, secret="inf_" + "a1b2c3d4" * 5))
    assert answer.status_code == 400
    assert b"Select a valid choice" in answer.content


def test_a_body_beyond_the_limit_gets_a_page_that_says_so(client, place, people):
    as_(client, people.operator)
    answer = client.post("/keys/new/", new_key(place, secret="x" * 300_000))
    assert answer.status_code == 400
    assert b"Nothing was changed" in answer.content


def reveal(client, key, password, reason="deploying by hand"):
    sent = {"reveal-password": password, "reveal-reason": reason}
    return client.post(reverse("key-reveal", args=[key.pk]), sent)


def test_reveal_shows_the_secret_once_and_unstored(client, people, key):
    as_(client, people.developer)
    answer = reveal(client, key, people.password)
    assert secret_of(key.current) in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert last("secret.revealed").outcome == "ok"
    again = client.get(reverse("key", args=[key.pk]))
    assert again["Cache-Control"] == "private, no-cache"
    assert secret_of(key.current) not in again.content.decode()


def test_a_revealed_secret_is_offered_as_a_line_for_each_tool(client, people, key):
    """B36: quoted as that tool reads it, under the name that the vendor gives the variable."""
    as_(client, people.developer)
    page = html.unescape(body(reveal(client, key, people.password)))
    for code in export_formats.FORMATS:
        assert export_formats.written(code, "INFLUTICS_API_KEY", secret_of(key.current)) in page


@pytest.mark.parametrize(
    ("who", "password", "reason", "status"),
    [
        ("developer", None, "no", 400),
        ("developer", None, "", 400),
        ("operator", None, "deploying by hand", 403),
        ("outsider", None, "deploying by hand", 404),
    ],
)
def test_reveal_is_refused(client, people, key, who, password, reason, status):
    as_(client, getattr(people, who))
    answer = reveal(client, key, password or people.password, reason)
    assert answer.status_code == status
    assert secret_of(key.current) not in answer.content.decode()
    assert people.password not in answer.content.decode()


def test_reveal_is_never_answered_to_a_get(client, people, key):
    as_(client, people.developer)
    answer = client.get(reverse("key-reveal", args=[key.pk]))
    assert (answer.status_code, answer["Location"]) == (302, f"/keys/{key.pk}/")
    assert not AuditEvent.objects.filter(action="secret.revealed").exists()


def test_check_says_what_the_vendor_answers(client, vendor, people, key):
    as_(client, people.viewer)
    answer = client.post(reverse("key-check", args=[key.pk]), follow=True)
    assert b"The vendor accepts the key." in answer.content
    vendor.delete_key_by_secret(secret_of(key.current))
    answer = client.post(reverse("key-check", args=[key.pk]), follow=True)
    assert KeyVersion.objects.get(pk=key.current_id).check_answer == "refused"
    assert b"Refused" in answer.content


def test_audit_is_for_owners_and_auditors_and_reading_is_recorded(client, people, key):
    as_(client, people.viewer)
    assert client.get("/audit/").status_code == 403
    as_(client, people.auditor)
    answer = client.get("/audit/")
    assert answer.status_code == 200
    assert b"Chain holds" in answer.content
    assert b"Key registered" in answer.content
    assert last("audit.read").actor_id == str(people.auditor.pk)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_the_audit_log_is_exported_whole_or_in_part_and_that_is_recorded(client, people, key, form):
    as_(client, people.operator)
    assert client.post("/audit/export").status_code == 403
    assert last("audit.exported").outcome == "denied"
    as_(client, people.auditor)
    answer = client.post("/audit/export", {"format": form, "first": 1, "last": 2})
    assert answer["Content-Disposition"] == f'attachment; filename="audit.{form}"'
    lines = b"".join(answer.streaming_content).decode().splitlines()
    assert len(lines) == (2 if form == "jsonl" else 3)
    whole = b"".join(client.post("/audit/export", {"format": form}).streaming_content).decode()
    assert "audit.exported" in whole
    assert last("audit.exported").actor_id == str(people.auditor.pk)
    assert client.post("/audit/export", {"format": "xml"}).status_code == 400


def test_audit_is_searched_by_text_and_day(client, people, key):
    as_(client, people.auditor)
    today = f"{timezone.now():%Y-%m-%d}"
    found = body(client.get("/audit/", {"text": "Video", "since": today, "until": today}))
    assert "No row fits" not in found
    assert "No row fits" in body(client.get("/audit/", {"text": "no such words"}))
    assert "No row fits" in body(client.get("/audit/", {"until": "2020-01-01"}))
    assert client.get("/audit/", {"since": "yesterday"}).status_code == 400


def test_audit_filters_narrow_the_list(client, people, key):
    as_(client, people.auditor)
    answer = client.get("/audit/", {"action": "key.registered", "object": "video"})
    assert [row.action for row in answer.context["rows"]] == ["key.registered"]
    assert not client.get("/audit/", {"actor": "nobody at all"}).context["rows"]
    assert client.get("/audit/", {"key": "x"}).status_code == 404


def test_audit_pages_go_on_where_the_last_ended(client, people, key):
    as_(client, people.auditor)
    for _ in range(55):
        client.get("/audit/?action=none")
    first = client.get("/audit/")
    assert len(first.context["rows"]) == 50
    second = client.get("/audit/" + first.context["next"])
    assert second.context["rows"][0].seq < first.context["rows"][-1].seq


def test_audit_says_when_a_row_was_changed(client, people, key):
    from django.db import connections

    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE audit_auditevent DISABLE TRIGGER USER")
        try:
            cursor.execute(
                "UPDATE audit_auditevent SET payload = replace(payload, 'Video', 'Radio')"
                " WHERE action = 'key.registered'"
            )
        finally:
            cursor.execute("ALTER TABLE audit_auditevent ENABLE TRIGGER USER")
    as_(client, people.auditor)
    assert b"The chain is broken" in client.get("/audit/").content


def test_unknown_addresses_get_a_page_that_helps(client, people):
    as_(client, people.owner)
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert b"Search for the key" in answer.content


@pytest.mark.parametrize("number", ["0", "999999", "9" * 30])
def test_unknown_and_foreign_ids_read_alike(client, people, key, number):
    as_(client, people.outsider)
    foreign = client.get(reverse("key", args=[key.pk]))
    unknown = client.get(f"/keys/{number}/")
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert stripped(foreign.content.decode()) == stripped(unknown.content.decode())


def test_an_old_form_is_refused_with_a_page(people):
    from django.test import Client

    careful = Client(enforce_csrf_checks=True)
    careful.force_login(people.owner)
    answer = careful.post("/sign-out")
    assert answer.status_code == 403
    assert b"too old" in answer.content


def test_the_admin_shows_and_changes_nothing(client, people, key):
    people.owner.is_superuser = True
    people.owner.save()
    as_(client, people.owner)
    for model in (
        "keyvault/keyversion",
        "keyvault/member",
        "rotation/rotation",
        "audit/auditevent",
    ):
        assert client.get(f"/admin/{model}/").status_code == 200
        assert client.get(f"/admin/{model}/add/").status_code == 403
    page = client.get(f"/admin/keyvault/keyversion/{key.current_id}/change/").content.decode()
    assert key.current.fingerprint not in page
    assert str(key.current.path) not in page
    sent = {"state": "deleted"}
    assert (
        client.post(f"/admin/keyvault/keyversion/{key.current_id}/change/", sent).status_code == 403
    )


def test_the_admin_has_no_sign_in_of_its_own(client, people):
    answer = client.get("/admin/login/?next=/admin/")
    assert answer["Location"] == "/sign-in?next=%2Fadmin%2F"


def test_health_tells_what_is_there_without_a_session(client, people):
    assert client.get("/health/live").json() == {"status": "ok"}
    facts = client.get("/health/ready").json()
    assert (facts["status"], facts["database"], facts["vault"], facts["broker"]) == ("ok",) * 4
    assert facts["loop"] == "late"


def test_health_is_unready_while_vault_is_away(client, people, settings):
    settings.VAULT_ADDR = "http://127.0.0.1:9"
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["vault"] == "away"


def test_a_failure_of_ours_says_what_was_not_lost(people):
    from django.db import connections
    from django.test import Client

    client = Client(raise_request_exception=False)
    client.force_login(people.owner)
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE rotation_humantask RENAME TO away")
        try:
            answer = client.get("/")
        finally:
            cursor.execute("ALTER TABLE away RENAME TO rotation_humantask")
    assert answer.status_code == 500
    assert b"each change is written whole or not at all" in answer.content
    assert b"rotation_humantask" not in answer.content
    assert answer["X-Request-Id"]
