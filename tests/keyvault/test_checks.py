"""System checks name a wrong setting before it can do harm."""

import traceback
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from keyvault.checks import check_debug, check_production
from keyvault.core.env import mail_server
from keyvault.vault import secret_store
from tests.commands import manage

pytestmark = pytest.mark.pure

GOOD: dict[str, Any] = {
    "SECRET_KEY": "s" * 50,
    "FINGERPRINT_KEY": "f" * 32,
    "TOKEN_PEPPER": "p" * 32,
    "INSECURE_HTTP": False,
    "ALLOW_LOOPBACK_TARGETS": False,
    "VAULT_ADDR": "https://vault.example.com:8200",
    "VAULT_ROLE_ID": "role",
    "BASE_URL": "https://keys.example.com",
    "AUDIT_SIGNING_KEY": "k" * 44,
    "DATABASE_APP_ROLE": "app",
}


def found(**changes: Any) -> set[str]:
    with override_settings(**{**GOOD, **changes}):
        return {f"{message.id}: {message.msg}" for message in check_production()}


def test_good_settings_pass() -> None:
    assert found() == set()


@pytest.mark.parametrize("name", ["SECRET_KEY", "FINGERPRINT_KEY", "TOKEN_PEPPER", "SCIM_TOKEN"])
def test_a_short_secret_is_named_and_not_shown(name: str) -> None:
    (said,) = found(**{name: "c4n4ry" * 5})
    assert said.startswith(f"keyvault.E001: {name}")
    assert "c4n4ry" not in said


@pytest.mark.parametrize("name", ["INSECURE_HTTP", "ALLOW_LOOPBACK_TARGETS"])
def test_sandbox_settings_are_refused_in_production(name: str) -> None:
    (said,) = found(**{name: True})
    assert said.startswith(f"keyvault.E002: {name}")


@pytest.mark.parametrize("name", ["VAULT_ADDR", "VAULT_ROLE_ID", "BASE_URL"])
def test_a_missing_setting_is_named(name: str) -> None:
    assert f"keyvault.E003: {name} is not set." in found(**{name: ""})


def test_vault_is_reached_by_https_only() -> None:
    (said,) = found(VAULT_ADDR="http://vault.example.com:8200")
    assert said.startswith("keyvault.E004")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("smtp://name:canary-mail-5520@mail.example.com:25", True),
        ("smtp+tls://name:canary-mail-5520@mail.example.com:587", False),
        ("smtp+ssl://name:canary-mail-5520@mail.example.com:465", False),
        ("smtp://127.0.0.1:25", False),
    ],
)
def test_a_mail_server_in_the_clear_is_named_and_its_password_not_shown(
    url: str, named: bool
) -> None:
    said = " ".join(found(**mail_server(url)))
    assert ("keyvault.W006" in said) == named
    assert "canary" not in said


def test_one_database_role_for_all_is_refused(stack: Any) -> None:
    """Whoever takes over the app could rewrite the audit log."""
    (said,) = found(DATABASE_APP_ROLE=settings.DATABASES["owner"]["USER"])
    assert said.startswith("keyvault.E005")


@pytest.mark.parametrize(
    ("debug", "hosts", "ids"),
    [
        (False, ["keys.example.com"], []),
        (True, ["localhost", "127.0.0.1", "[::1]"], ["keyvault.W001"]),
        (True, [], ["keyvault.W001"]),
        (True, ["keys.example.com"], ["keyvault.E006"]),
        (True, ["localhost", "keys.example.com"], ["keyvault.E006"]),
        (True, ["*"], ["keyvault.E006"]),
        (True, [".localhost"], ["keyvault.E006"]),
    ],
)
def test_debug_is_for_loopback_only(debug: bool, hosts: list[str], ids: list[str]) -> None:
    """B60."""
    with override_settings(DEBUG=debug, ALLOWED_HOSTS=hosts):
        assert [message.id for message in check_debug()] == ids


def test_a_role_that_may_change_the_audit_log_is_named(stack, people):
    """What a careless restore gives too much is said, in the role's own process."""
    from django.db import connections

    with connections["owner"].cursor() as owner:
        owner.execute("GRANT UPDATE ON audit_checkpoint TO keyvault_app")
        try:
            ran = manage(stack, "check", "--database", "default")
        finally:
            owner.execute("REVOKE UPDATE ON audit_checkpoint FROM keyvault_app")
    assert ran.code == 1
    assert "audit_checkpoint" in ran.err
    assert "E007" in ran.err
    assert manage(stack, "check", "--database", "default").code == 0


def test_the_check_of_web_leaves_nothing_behind_in_vault(stack, people):
    before = secret_store.list_paths("probe")
    assert manage(stack, "check", "--database", "default").code == 0
    assert secret_store.list_paths("probe") == before


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp+tls://name:c4n4ry#more@mail.example.com:587",
        "smtp+tls://name:c4n4ry/more@mail.example.com:587",
        "smtp+tls://name:c4n4ry@mail.example.com:port",
        "smtp://[::1",
    ],
)
def test_a_mail_server_that_is_none_is_refused_without_its_text(url: str) -> None:
    """A password with an odd character would stand in the error of a failed start."""
    with pytest.raises(ImproperlyConfigured) as caught:
        mail_server(url)
    said = "".join(traceback.format_exception(caught.value))
    assert "EMAIL_URL" in said
    assert "c4n4ry" not in said


def test_a_mail_server_is_read_with_its_password() -> None:
    said = mail_server("smtp+tls://name:p%40ss@mail.example.com:587")
    assert (said["EMAIL_HOST"], said["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert (said["EMAIL_HOST_PASSWORD"], said["EMAIL_USE_TLS"]) == ("p@ss", True)
