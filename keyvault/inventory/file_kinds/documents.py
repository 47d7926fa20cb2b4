"""JSON documents: exports of clouds, of stores of secrets and of password managers."""

import json
from typing import Any

from keyvault.inventory.file_kinds.kinds import (
    COLUMNS,
    DECRYPT,
    KUBERNETES,
    LINES,
    OURS,
    PAIR,
    Kind,
    jq,
)

_DOCKER = Kind(
    "docker",
    "what docker inspect prints",
    LINES,
    "docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' NAME",
)
_AWS_PAIR = Kind("aws_pair", "an access key of AWS", PAIR)
_BROKEN = Kind("json_broken", "a JSON document that is cut off or damaged", OURS)

# What must be there: dotted paths, with `=` one of these texts, with `:` this type. The first that
# fits counts.
_DOCUMENTS = (
    (
        "sops.mac",
        Kind(
            "sops",
            "a file encrypted by sops",
            DECRYPT,
            "sops -d --output-type dotenv FILE",
        ),
    ),
    (
        "kind=Secret",
        Kind(
            "kubernetes",
            "a Secret of Kubernetes, whose values are in base64",
            LINES,
            f"{KUBERNETES} | {jq('.data|map_values(@base64d)|to_entries[]')}",
        ),
    ),
    (
        "kind=SealedSecret",
        Kind("sealed", "a SealedSecret of Kubernetes, which is encrypted", DECRYPT, KUBERNETES),
    ),
    ("apiVersion kind", Kind("kubernetes_other", "a manifest of Kubernetes", OURS)),
    (
        "type=service_account|authorized_user|external_account|impersonated_service_account",
        Kind(
            "google",
            "a key file of Google Cloud",
            "The whole document is the credential; only keys of one line are taken.",
        ),
    ),
    ("installed.client_id", Kind("google_client", "an OAuth client of Google", OURS)),
    ("web.client_id", Kind("google_client", "an OAuth client of Google", OURS)),
    (
        "SecretValues",
        Kind(
            "aws_secrets_batch",
            "a batch of AWS Secrets Manager; what stands under its Errors was not given",
            LINES,
            jq(".SecretValues[].SecretString|fromjson|to_entries[]"),
        ),
    ),
    (
        "SecretString",
        Kind(
            "aws_secret",
            "a secret of AWS Secrets Manager",
            LINES,
            jq(".SecretString|fromjson|to_entries[]"),
        ),
    ),
    (
        "SecretBinary",
        Kind("aws_secret_binary", "a binary secret of AWS Secrets Manager", OURS),
    ),
    ("AccessKey.SecretAccessKey", _AWS_PAIR),
    ("AccessKeyId SecretAccessKey", _AWS_PAIR),
    (
        "Credentials.SessionToken",
        Kind(
            "aws_session",
            "a set of AWS credentials that ends within hours",
            "Nothing of it is to be kept.",
        ),
    ),
    (
        "Parameters:list",
        Kind("aws_parameters", "a set of parameters of AWS Systems Manager", OURS),
    ),
    ("Parameter.Value", Kind("aws_parameter", "a parameter of AWS Systems Manager", OURS)),
    (
        "projects:list secrets:list",
        Kind(
            "bitwarden_sm",
            "an export of Bitwarden Secrets Manager",
            LINES,
            jq(".secrets[]"),
        ),
    ),
    ("encrypted items", Kind("bitwarden_json", "an export of Bitwarden", COLUMNS)),
    (
        "encrypted data",
        Kind(
            "bitwarden_encrypted",
            "an encrypted export of Bitwarden",
            "Export it anew without encryption, and keep the rows that are API keys.",
        ),
    ),
    ("accounts.0.vaults", Kind("1password_1pux", "an export of 1Password (1pux)", COLUMNS)),
    ("title vault fields", Kind("1password_item", "an item of 1Password", OURS)),
    (
        "data.data:null",
        Kind(
            "vault_deleted",
            "a deleted version of a secret in Vault, in which nothing is left",
            "Undelete it, or read another version.",
        ),
    ),
    (
        "data.data:object data.metadata",
        Kind(
            "vault_kv2",
            "a secret of Vault (kv version 2)",
            LINES,
            jq(".data.data|to_entries[]"),
        ),
    ),
    (
        "auth.client_token",
        Kind("vault_token", "a token of Vault", "It opens Vault, and is no API key."),
    ),
    (
        "wrap_info.token",
        Kind("vault_token", "a token of Vault", "It opens Vault, and is no API key."),
    ),
    (
        "data:object lease_duration",
        Kind(
            "vault_kv1",
            "a secret of Vault (kv version 1)",
            LINES,
            jq(".data|to_entries[]"),
        ),
    ),
    (
        "DOPPLER_PROJECT",
        Kind(
            "doppler_json",
            "an export of Doppler",
            LINES,
            "doppler secrets download --no-file --format env",
        ),
    ),
    ("Config.Env", _DOCKER),
    ("appId tenant", Kind("azure_principal", "a service principal of Azure", OURS)),
    (
        "value attributes id",
        Kind("azure_secret", "a secret of Azure Key Vault", OURS),
    ),
    ("_postman_variable_scope", Kind("postman", "an environment of Postman", OURS)),
    ("terraform_version", Kind("terraform", "a state of Terraform", OURS)),
    ("log.entries", Kind("har", "a recording of a browser (HAR)", OURS)),
    ("auths", Kind("docker_auth", "the sign-ins of docker (config.json)", OURS)),
)
_ITEMS = (
    ("Config.Env", _DOCKER),
    (
        "key value",
        Kind(
            "infisical_json",
            "an export of Infisical, or another list of keys and values",
            LINES,
            jq(".[]"),
        ),
    ),
    (
        "name value",
        Kind(
            "name_value_json",
            "a list of names and values",
            LINES,
            jq(".[]|{key:.name,value}"),
        ),
    ),
    ("title vault", Kind("1password_items", "a list of items of 1Password", OURS)),
)
_PLAIN = Kind("json", "a JSON document", LINES, jq("to_entries[]"))
_NESTED = Kind(
    "json_nested",
    "a JSON document with values within values",
    "Take out the object of names and keys. Then give it as lines: {command}",
    jq("to_entries[]"),
)
_LIST = Kind("json_list", "a JSON list", OURS)
_JSON_LINES = Kind("json_lines", "a file of JSON lines", OURS)
_JSON_TEXT = Kind("json_text", "a text of JSON", OURS)
_TYPES: dict[str, type] = {"object": dict, "list": list, "null": type(None)}
_OPENINGS = ('{"', '["', "[{", "[[", "{'", "['")


def document_kind(text: str) -> Kind | None:
    """Return the kind of a JSON text; None where it is none."""
    try:
        found = json.loads(text)
    except RecursionError:
        return _BROKEN
    except ValueError:
        return _lines_or_broken(text)
    if isinstance(found, list):
        first = found[0] if found else None
        return next((kind for spec, kind in _ITEMS if _fits(first, spec)), _LIST)
    if isinstance(found, dict):
        nested = any(isinstance(one, dict | list) for one in found.values())
        other = _NESTED if nested else _PLAIN
        return next((kind for spec, kind in _DOCUMENTS if _fits(found, spec)), other)
    return _JSON_TEXT if isinstance(found, str) and "\n" in found else None


def _fits(found: Any, spec: str) -> bool:
    return all(_has(found, one) for one in spec.split())


def _has(found: Any, wanted: str) -> bool:
    path, _sign, texts = wanted.partition("=")
    path, _sign, kind = path.partition(":")
    for name in path.split("."):
        if isinstance(found, list) and name == "0":
            found = found[0] if found else None
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            return False
    return (not texts or found in texts.split("|")) and (
        not kind or isinstance(found, _TYPES[kind])
    )


def _lines_or_broken(text: str) -> Kind | None:
    first = text.lstrip().split("\n", 1)[0].strip()
    try:
        if isinstance(json.loads(first), dict):
            return _JSON_LINES
    except (ValueError, RecursionError):
        pass
    opening = "".join(text[:500].split())
    return _BROKEN if opening.startswith(_OPENINGS) else None
