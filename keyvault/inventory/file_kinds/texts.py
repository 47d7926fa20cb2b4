"""Texts that are told by a line of theirs: encrypted files, YAML, scripts, and what tools print."""

import re

from keyvault.inventory.file_kinds.kinds import (
    DECRYPT,
    KUBERNETES,
    LINES,
    NO_KEY,
    OURS,
    PAIR,
    Kind,
    jq,
)

_EXPORT = "Write each as NAME=value, without the command in front."
_TABLE = "Ask that tool for JSON or for NAME=value lines instead of a table."
_SECRET = Kind(
    "kubernetes",
    "a Secret of Kubernetes, whose values are in base64",
    LINES,
    f"{KUBERNETES} | {jq('.data|map_values(@base64d)|to_entries[]')}",
)
_SEALED = Kind("sealed", "a SealedSecret of Kubernetes, which is encrypted", DECRYPT, KUBERNETES)
_YAML = Kind("yaml", "a YAML document", OURS)


def _all(*marks: tuple[str, Kind]) -> tuple[tuple[re.Pattern[str], Kind], ...]:
    return tuple((re.compile(shape, re.MULTILINE), kind) for shape, kind in marks)


# Looked for in any line; none may match across lines, or many empty ones would take for ever.
_ANYWHERE = _all(
    (
        r"^\$ANSIBLE_VAULT;|^[\w.-]+:[ \t]*!vault\b",
        Kind(
            "ansible_vault",
            "a file encrypted by ansible-vault",
            DECRYPT,
            "ansible-vault view FILE",
        ),
    ),
    (
        r"^[ \t]*(?:export )?sops_(?:mac|version|lastmodified)=|[=:][ \t]*[\"']?ENC\[AES256_GCM,|"
        r"^#ENC\[AES256_GCM,|^sops:[ \t]*$",
        Kind(
            "sops",
            "a file encrypted by sops",
            DECRYPT,
            "sops -d FILE | manage.py importkeys …",
        ),
    ),
    (
        r"^[ \t]*(?:export )?DOTENV_PRIVATE_KEY\w*[ \t]*=",
        Kind(
            "dotenvx_keys",
            "a file with private keys of dotenvx",
            "They open its encrypted files, and are no API keys.",
        ),
    ),
    (
        r"^[ \t]*(?:export )?DOTENV_PUBLIC_KEY\w*[ \t]*=|=[ \t]*[\"']?encrypted:",
        Kind(
            "dotenvx",
            "a file encrypted by dotenvx",
            DECRYPT,
            "dotenvx decrypt --stdout -f FILE",
        ),
    ),
    (
        r":[ \t]*[\"']?ENC\[PKCS7,|:[ \t]*>?[ \t]*DEC::",
        Kind("eyaml", "a file encrypted by eyaml", DECRYPT, "eyaml decrypt -e FILE"),
    ),
    (
        r"^-----BEGIN AGE ENCRYPTED FILE-----",
        Kind("age", "a file encrypted by age", DECRYPT, "age -d FILE"),
    ),
    (r"^-----BEGIN PGP ", Kind("pgp", "a text of PGP", DECRYPT, "gpg -d FILE")),
    (
        r"^AGE-SECRET-KEY-1|^age1[a-z0-9]{50,}$",
        Kind(
            "age_keys",
            "a file with keys of age",
            "They encrypt files, and are no API keys.",
        ),
    ),
    (r"^kind:[ \t]*Secret[ \t]*$", _SECRET),
    (r"^kind:[ \t]*SealedSecret[ \t]*$", _SEALED),
    (
        r"^apiVersion:[ \t]*\S+[ \t]*$",
        Kind("kubernetes_other", "a manifest of Kubernetes", OURS),
    ),
    (r"^services:[ \t]*$", Kind("compose", "a compose file", OURS)),
    (r"^machine[ \t]+\S+", Kind("netrc", "a .netrc file", OURS)),
    (
        r"^[ \t]*(?://\S*:)?_(?:authToken|auth|password)[ \t]*=",
        Kind("npmrc", "an .npmrc file", OURS),
    ),
    (
        r"^[ \t]*\$[Ee][Nn][Vv]:\w+[ \t]*=",
        Kind("powershell", "a script of PowerShell", _EXPORT),
    ),
    (
        r"^[ \t]*(?:setenv|set -\w*x\w*|SET|set)[ \t]+[\"']?\w+[ =]",
        Kind("script", "a script of another shell", _EXPORT),
    ),
    (
        r"^(?:declare -x|typeset -x) \w+",
        Kind("declare", "what a shell prints about itself", LINES, "env"),
    ),
    (
        r"^[+|\u2500-\u257f][+|=\u2500-\u257f-]{4,}",
        Kind("drawn_table", "a table drawn with lines", _TABLE),
    ),
)
# Looked for where the text begins, after comments and empty lines.
_OPENINGS = _all(
    (
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
        Kind(
            "private_key",
            "a private key (PEM)",
            "Only keys of one line are taken, as vendors of APIs hand them out.",
        ),
    ),
    (r"-----BEGIN ", Kind("pem", "a certificate or a public key (PEM)", NO_KEY)),
    (
        r"(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S+) AAAA",
        Kind("ssh_public", "a public key of SSH", NO_KEY),
    ),
    (r"PuTTY-User-Key-File", Kind("putty", "a private key of PuTTY", NO_KEY)),
    (r"age-encryption\.org", Kind("age", "a file encrypted by age", DECRYPT, "age -d FILE")),
    (
        r"(?i)<(?:!doctype[ \t]+html|html)\b",
        Kind("html", "a web page", "Perhaps nobody was signed in when it was saved."),
    ),
    (r"<\?xml|<KeePassFile|<plist", Kind("xml", "an XML document", OURS)),
    (
        r"\[[^\]\n]+\][ \t]*\n(?:[^\n]*\n){0,3}?[ \t]*aws_(?:access|secret)_",
        Kind("aws_ini", "a credentials file of AWS", PAIR),
    ),
    (
        r"\[[\w .:/@\"'-]+\][ \t]*$",
        Kind("ini", "an INI or TOML file with sections", OURS),
    ),
    (
        r"https?://[^\s:@/]+:[^\s@]+@\S+[ \t]*$",
        Kind("git_credentials", "a list of addresses with passwords, as git keeps them", OURS),
    ),
    (
        r"[\w.*-]+:(?:\d+|\*):[^:\s]+:[^:\s]+:\S+[ \t]*$",
        Kind("pgpass", "a .pgpass file", OURS),
    ),
    (
        r"(?:\$ )?curl[ \t]",
        Kind("curl", "a command (curl)", "Give the key that stands in it, alone."),
    ),
    (
        r"={2,40}[ =]{0,80}[A-Za-z]|Key[ \t]{2,}Value[ \t]*$|NAME[ \t]+TYPE[ \t]+DATA",
        Kind("printed_table", "a table that a tool printed", _TABLE),
    ),
    (r"\{\{|\{%", Kind("template", "a template, to be filled in", "Give its result.")),
    (r"---[ \t]*$|%YAML", _YAML),
    (r"[\"']?[\w./-]+[\"']?:(?:[ \t]+[^\n]*)?$", _YAML),
    (r"- [^\n]+$", Kind("yaml_list", "a YAML list", OURS)),
)


def text_kind(text: str) -> Kind | None:
    """Return the kind of a text that one of its lines gives away; None for what none does."""
    found = line_kind(text)
    if found:
        return found
    body = _body(text)
    return next((kind for shape, kind in _OPENINGS if shape.match(body)), None)


def line_kind(text: str) -> Kind | None:
    """Return the kind that a single line may show, wherever it stands."""
    return next((kind for shape, kind in _ANYWHERE if shape.search(text)), None)


def _body(text: str) -> str:
    """Return the text from its first line on that is neither empty nor a comment."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        line = text[begin:end].strip()
        if line and not line.startswith(("#", ";")):
            return text[begin:].lstrip(" \t")
        begin = end + 1
    return ""
