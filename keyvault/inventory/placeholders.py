"""One list of what is pasted in place of a key: references, ciphertexts, placeholders, masks.

None of them is a key, so none is stored or sent, by any door. What may be a damaged copy, or may be
so after all, is asked about: it is refused until a person says that it is really so.
"""

import re
from dataclasses import dataclass

from keyvault.core.errors import BadInput

_REFERENCE = "Paste the key that it stands for."
_CIPHERTEXT = "Decrypt it first, and paste the key itself."
_PLACEHOLDER = "Paste the real key."


class Question(BadInput):
    """What was given may be right, but seldom is: a person must say that it is really so.

    `why` is the doubt alone, for a place that has its own way to say so.
    """

    def __init__(self, why: str, *, code: str = "is_it_so") -> None:
        super().__init__(
            (
                f"{why} Nothing was stored, and nothing was sent. If it is really so, say that: tick “It "
                "is really so”, `as_it_is` in the API, `--as-it-is` in a command."
            ),
            code=code,
        )
        self.why = why


@dataclass(frozen=True)
class NotAKey:
    """A shape that is no key, what it is in words, and what to do."""

    code: str
    shape: re.Pattern[str]
    what: str
    then: str


def _all(code: str, then: str, *pairs: tuple[str, str]) -> tuple[NotAKey, ...]:
    return tuple(NotAKey(code, re.compile(shape), what, then) for shape, what in pairs)


# Matched at the beginning, unless the shape says otherwise.
_LIST = (
    *_all(
        "reference",
        _REFERENCE,
        (r"(?i)op://", "a reference to 1Password"),
        (r"(?i)ref\+", "a reference that vals fills in"),
        (r"(?i)arn:aws[\w-]*:", "the name (ARN) of something at AWS"),
        (r"/?projects/[^/]+/secrets/", "the name of a secret at Google Cloud"),
        (r"(?i)@Microsoft\.KeyVault\(", "a reference to Azure Key Vault"),
        (r"(?i)[\w.-]+\.vault\.azure\.net\b", "the address of a secret in Azure Key Vault"),
        (
            r"(?i)(?:vault|bao|openbao|secretref|awssm|awsssm|awsps|aws-?sm|ssm|gcpsm|gcp-?sm|sm|azkv|"
            r"akv|keyvault|doppler|infisical|bws?|bitwarden|keyring|keychain|pass|secret|secrets|"
            r"conjur|akeyless|berglas|teller|env|file|kv|k8s)://",
            "a reference to a store of secrets",
        ),
        (r"/(?:var/)?run/secrets/|/(?:etc|mnt|vault)/\S*secret", "the path of a file"),
        (r"(?i)vault:(?!v\d+:)[\w./-]+", "a reference to Vault"),
        (r"(?i)(?:secretsmanager|ssm|ssm-secure|awssecret):\S", "a reference to AWS"),
        (r"(?s).*\$\{[A-Za-z_!?#:.][^}]*\}", "a text with a variable, ${…}, to be filled in"),
        (r"\$[A-Z_][A-Z0-9_]*$", "the name of a variable, not its value"),
        (r"(?s).*\{\{.*\}\}", "a template, {{…}}, to be filled in"),
        (r"(?s).*<%=?.*%>", "a template, <%…%>, to be filled in"),
        (r"(?s).*\$\([^)]*\)", "a command, $(…), whose output is meant"),
        (r"%[A-Za-z_][A-Za-z0-9_]*%$", "the name of a variable, %…%"),
        (r"\(\(.+\)\)$", "a variable of a pipeline, ((…))"),
        (r"#\{.+\}#?$", "a variable, #{…}, to be filled in"),
        (r"\$\[.+\]$", "a variable of a pipeline, $[…]"),
        (r"(?i)\$env:\w+$|env\.[A-Z_][A-Z0-9_]*$", "the name of a variable"),
        (r"(?i)process\.env\b|os\.(?:environ|getenv)\b|getenv\(|env\(", "a line of a program"),
        (r"!(?:Ref|Sub|GetAtt|vault|secret|reference|env)\b", "a tag that a tool fills in"),
        (r"(?i)secrets\.[A-Z_][A-Z0-9_]*$", "the name of a secret of a pipeline"),
    ),
    *_all(
        "ciphertext",
        _CIPHERTEXT,
        (r"#?ENC\[AES256_GCM,", "a value encrypted by sops"),
        (r"(?i)ENC\[|DEC::", "an encrypted value, ENC[…]"),
        (r"(?i)ENC\(", "an encrypted value, ENC(…)"),
        (r"\$ANSIBLE_VAULT;", "a text encrypted by ansible-vault"),
        (r"vault:v\d+:", "a ciphertext of Vault's transit engine"),
        (r"-----BEGIN AGE|age-encryption\.org", "a text encrypted by age"),
        (r"age1[a-z0-9]{20,}", "a public key of age, to encrypt for somebody"),
        (r"-----BEGIN PGP MESSAGE", "a text encrypted by PGP"),
        (r"AQ(?:IC|EC)AH[A-Za-z0-9+/=]", "a ciphertext of AWS KMS"),
        (r"encrypted:", "a value encrypted by dotenvx"),
        (r"\{cipher\}", "an encrypted value of Spring"),
        (r"U2FsdGVkX1", "a text encrypted by openssl"),
        (r"gAAAAA[A-Za-z0-9_-]{60,}", "a text encrypted by Fernet"),
        (r"\$(?:2[abxy]|argon2(?:id?|d)|[156]|scrypt|pbkdf2[\w-]*)\$", "the hash of a password"),
        (r"pbkdf2_sha\d+\$|\{S?SHA\d*\}", "the hash of a password"),
        (r"-----BEGIN [A-Z ]*PUBLIC KEY", "a public key, which is no secret"),
        (r"-----BEGIN (?:TRUSTED )?CERTIFICATE", "a certificate, which is no secret"),
        (r"(?:ssh-(?:rsa|ed25519|dss)|ecdsa-sha2-\S+) ", "a public key of SSH"),
    ),
    *_all(
        "placeholder",
        _PLACEHOLDER,
        (r"<[^<>]+>$", "a placeholder, <…>"),
        (r"\[[A-Za-z][\w .-]*\]$", "a placeholder, […]"),
        (r"__\w+__$", "a placeholder, __…__"),
        (
            r"(?i)(?:[a-z]{1,10}[ _-]){0,3}your[ _-]?[a-z0-9 _-]*"
            r"(?:key|token|secret|credentials?|password|here)[a-z0-9 _-]*$",
            "a placeholder: “your key”",
        ),
        (
            r"(?i)(?:[a-z]+[ _-])*(?:key|token|secret|password|value)s?[ _-]?(?:goes[ _-]?)?here$",
            "a placeholder: “key here”",
        ),
        (
            r"(?i)(?:please[ _-]?)?(?:insert|enter|paste|put|add|replace|change|fill|set|update|use)"
            r"[ _-]?(?:me|this|it|in|with|your|the|a|an|my|here|by|before)(?:[ _-][a-z0-9 _-]*)?[!.]*$",
            "a placeholder, to be changed",
        ),
        (r"(?i)change[ _-]?me[\d!._-]*$|(?:todo|fixme|tbd)[ _:.-]", "a placeholder: “change me”"),
        (
            r"(?i)(?:my|the|a|some|test|dummy|fake|sample|example|demo|api|access|secret|auth|bearer)"
            r"(?:[ _-]?(?:api|access|secret|auth|bearer|super|test))*[ _-]?"
            r"(?:key|token|secret|password|value|credentials?)[\d!]{0,3}$",
            "a placeholder",
        ),
        (
            r"(?i)(?:place[ _-]?holder|example|dummy|sample|redacted|undefined|not[ _-]?set|unset|none|"
            r"null|nil|n/?a|todo|fixme|tbd|to[ _-]be[ _-](?:done|set|defined)|secret|password|"
            r"foobar(?:baz)?|lorem[ _-]?ipsum|removed|omitted|hidden|masked|filtered|secured|private|"
            r"sensitive(?: value)?|deadbeef|abc123+|(?:123456789?0?)+)[\d!._-]*$",
            "a placeholder",
        ),
        (r"AKIA[A-Z0-9]*EXAMPLE|\S*EXAMPLE(?:KEY|TOKEN|SECRET)?$", "the example of a manual"),
    ),
    *_all(
        "masked",
        "Copy the full key; if it is no longer shown, make a new one at the vendor.",
        (r"(?i)[(\[<{*]+(?:hidden|redacted|masked|filtered|removed|secured?|sensitive[ _]?value|"
         r"protected|not shown|secret)[)\]>}*]+$", "a mask in the key's place"),
        (r"\S*#{5,}|\S*_{8,}", "a mask in the key's place"),
    ),
)  # fmt: skip

_QUESTIONS = (
    (
        re.compile(r"(?i)&(?:amp|lt|gt|quot|apos|nbsp|#\d{2,6}|#x[0-9a-f]{2,5});"),
        "signs written as a web page or LastPass writes them, such as &amp; for &",
    ),
    (
        re.compile(r"\\(?:[nrt]|u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2})"),
        "a backslash with a letter, such as \\n, which stands for another sign in a file",
    ),
    (
        re.compile(r"%(?:2[BbFf]|3[DdAa]|40|2[346])"),
        "signs written as an address writes them, such as %2B for +",
    ),
    (re.compile(r"\A\$[A-Za-z_][A-Za-z0-9_]*$"), "only what could be the name of a variable"),
    (
        re.compile(r"(?i)\A(?:[a-z][a-z0-9+.-]*://|data:[\w/]+[;,])"),
        "an address, and addresses are seldom keys",
    ),
)


def refuse(text: str) -> None:
    """Raise BadInput that names what `text` is, where it is no key; it never repeats any of it."""
    for one in _LIST:
        if one.shape.match(text):
            raise BadInput(
                f"This is not a key but {one.what}. Nothing was stored. {one.then}",
                code=one.code,
            )


def ask(text: str) -> None:
    """Raise Question where `text` may be a damaged copy of a key, or something else altogether."""
    for shape, what in _QUESTIONS:
        if shape.search(text):
            raise Question(f"It contains {what}. Copy the key from the vendor's page.")
