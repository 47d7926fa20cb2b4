"""Made-up files in the shapes that real tools write, each with what it is and with its secrets.

No value opens anything: each is made from its name. `names` are the names of variables in it, which a
person may be shown, or words of the format that the advice uses.
"""

import base64
import io
import json
import random
import string
import zipfile
from dataclasses import dataclass, field

WORDS = string.ascii_letters + string.digits
BASE64 = WORDS + "+/"


def made(seed: str, length: int = 40, signs: str = WORDS, before: str = "") -> str:
    """Return a value that looks like a secret and is none."""
    return before + "".join(random.Random(seed).choices(signs, k=length))


@dataclass(frozen=True)
class Sample:
    """A file: its bytes, the kind by which it is refused (empty where its rows are read)."""

    kind: str
    data: bytes = field(repr=False)
    names: tuple[str, ...] = ()


AWS_ID, AWS_SECRET = made("id", 16, string.ascii_uppercase, "AKIA"), made("aws", 40, BASE64)
STRIPE, GITHUB = made("stripe", 32, before="sk_live_"), made("gh", 36, before="ghp_")
PASSWORD = made("password", 18)
WEB_TOKEN = ".".join(made(f"jwt{one}", 60, before="eyJ" if one < 2 else "") for one in range(3))
DATABASE = f"postgres://shop:{made('db', 24)}@db.internal:5432/shop"
SOPS = f"ENC[AES256_GCM,data:{made('d', 40, BASE64)},iv:{made('i', 40, BASE64)}=,tag:{made('t')}==,type:str]"
SEALED = made("sealed", 120, BASE64)
NAMES = ("STRIPE_KEY", "GITHUB_TOKEN")
SECRETS_IN_THEM = [STRIPE, GITHUB, PASSWORD, AWS_SECRET, DATABASE, SEALED, SOPS, WEB_TOKEN]


def text(kind: str, said: str, *names: str) -> Sample:
    return Sample(kind, said.encode(), names)


def document(kind: str, said: object, *names: str) -> Sample:
    return text(kind, json.dumps(said, indent=2), *names)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("export.data", json.dumps({"secret": STRIPE}))
    return file.getvalue()


VAULT = {"request_id": made("r"), "lease_id": "", "lease_duration": 2764800, "renewable": False}
AWS_ROWS = f"Access key ID,Secret access key\r\n{AWS_ID},{AWS_SECRET}\r\n"
SECRET_STRING = json.dumps({"STRIPE_KEY": STRIPE, "port": 5432})
AWS_SAID = {
    "ARN": f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-{made('a', 6)}",
    "Name": "shop",
    "VersionId": made("v", 36),
    "SecretString": SECRET_STRING,
    "VersionStages": ["AWSCURRENT"],
}
LASTPASS = f'https://x.example,me,{PASSWORD}&amp;x,,"line\nline",Shop,Work\\Keys,0'

SAMPLES: dict[str, Sample] = {
    "aws-new-key": Sample("aws_keys", b"\xef\xbb\xbf" + AWS_ROWS.encode()),
    "aws-user-key": text(
        "aws_keys",
        f"\ufeffUser Name,Access key ID,Secret access key\r\nci,{AWS_ID},{AWS_SECRET}\r\n",
    ),
    "aws-new-user": text(
        "aws_keys",
        "\ufeffUser name,Password,Access key ID,Secret access key,Console login link\r\n"
        f"ci,,{AWS_ID},{AWS_SECRET},https://123456789012.signin.aws.amazon.com/console\r\n",
    ),
    "aws-ini": text(
        "aws_ini",
        f"[default]\naws_access_key_id = {AWS_ID}\naws_secret_access_key = {AWS_SECRET}\n",
    ),
    "aws-create-key": document(
        "aws_pair", {"AccessKey": {"AccessKeyId": AWS_ID, "SecretAccessKey": AWS_SECRET}}
    ),
    "aws-secret": document("aws_secret", AWS_SAID, "SecretString"),
    "aws-batch": document(
        "aws_secrets_batch",
        {"SecretValues": [AWS_SAID], "Errors": [{"SecretId": "x", "ErrorCode": "Denied"}]},
        *("SecretValues", "SecretString"),
    ),
    "bitwarden-csv": text(
        "bitwarden_csv",
        "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,"
        f"login_totp\nWork,,login,Shop,,api: {STRIPE},0,https://x.example,me,{PASSWORD},\n",
    ),
    "bitwarden-json": document(
        "bitwarden_json", {"encrypted": False, "folders": [], "items": [{"notes": STRIPE}]}
    ),
    "bitwarden-sm": document(
        "bitwarden_sm",
        {"projects": [], "secrets": [{"key": "STRIPE_KEY", "value": STRIPE, "note": ""}]},
    ),
    "1password-8": text(
        "1password",
        "Title,Url,Username,Password,OTPAuth,Favorite,Archived,Tags,Notes\n"
        f"Shop,https://x.example,me,{PASSWORD},,false,false,a;b,{STRIPE}\n",
    ),
    "1password-7": text(
        "1password_old",
        '"notesPlain","password","title","type","username","URL"\n'
        f'"{STRIPE}","{PASSWORD}","Shop"\n',
    ),
    "1password-1pux": Sample("zip", _zip()),
    "1password-data": document("1password_1pux", {"accounts": [{"vaults": [{"items": [STRIPE]}]}]}),
    "lastpass": text(
        "lastpass", f"url,username,password,totp,extra,name,grouping,fav\n{LASTPASS}\n"
    ),
    "keepassxc": text(
        "keepass",
        '"Group","Title","Username","Password","URL","Notes","TOTP","Icon","Last Modified","Created"\n'
        f'"Root","Shop","me","{PASSWORD}","","{STRIPE}","","0","",""\n',
    ),
    "keepass-2": text(
        "keepass",
        f'"Account","Login Name","Password","Web Site","Comments"\n"x","me","{PASSWORD}","",""\n',
    ),
    "chrome": text("browser", f"name,url,username,password,note\nx,https://x,me,{PASSWORD},\n"),
    "infisical-json": document(
        "infisical_json", [{"key": "STRIPE_KEY", "value": STRIPE, "type": "shared", "_id": "1"}]
    ),
    "infisical-csv": text("key_value", f"Key,Value\nSTRIPE_KEY,{STRIPE}\nOTHER,{PASSWORD}\n"),
    "infisical-env": text("", f"STRIPE_KEY='{STRIPE}'\nGITHUB_TOKEN='{GITHUB}'\n", *NAMES),
    "infisical-export": text("", f"export STRIPE_KEY='{STRIPE}'\n", *NAMES),
    "doppler-env": text(
        "",
        f'DOPPLER_CONFIG="prd"\nDOPPLER_ENVIRONMENT="prd"\nDOPPLER_PROJECT="shop"\n'
        f'STRIPE_KEY="{STRIPE}"\n',
        *("DOPPLER_CONFIG", "DOPPLER_ENVIRONMENT", "DOPPLER_PROJECT", "STRIPE_KEY"),
    ),
    "doppler-json": document("doppler_json", {"DOPPLER_PROJECT": "shop", "STRIPE_KEY": STRIPE}),
    "vercel-env": text(
        "",
        '# Created by Vercel CLI\nNX_DAEMON="false"\nVERCEL="1"\nVERCEL_ENV="production"\n'
        f'VERCEL_OIDC_TOKEN="{WEB_TOKEN}"\nDATABASE_URL="{DATABASE}"\nSTRIPE_KEY="{STRIPE}"\n',
        *("NX_DAEMON", "VERCEL_ENV", "VERCEL_OIDC_TOKEN", "DATABASE_URL", "STRIPE_KEY"),
    ),
    "sops-env": text(
        "sops",
        f"STRIPE_KEY={SOPS}\n#ENC[AES256_GCM,data:{SEALED}]\nsops_lastmodified=2026-01-01T00:00:00Z\n"
        f"sops_mac={SOPS}\nsops_version=3.11.0\n",
    ),
    "sops-yaml": text("sops", f"stripe: {SOPS}\nsops:\n    mac: {SOPS}\n"),
    "sops-json": document("sops", {"stripe": SOPS, "sops": {"mac": SOPS, "version": "3.11.0"}}),
    "sops-decrypted": text(
        "", f"STRIPE_KEY={STRIPE} # of {PASSWORD}\nOTHER_TOKEN={PASSWORD}\n", *NAMES, "OTHER_TOKEN"
    ),
    "ansible-vault": text(
        "ansible_vault", "$ANSIBLE_VAULT;1.1;AES256\n" + made("ansible", 80, "0123456789") + "\n"
    ),
    "ansible-inline": text(
        "ansible_vault", f"stripe_key: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  {SEALED}\n"
    ),
    "vault-kv2": document(
        "vault_kv2",
        {**VAULT, "data": {"data": {"STRIPE_KEY": STRIPE}, "metadata": {"version": 1}}},
    ),
    "vault-kv2-deleted": document(
        "vault_deleted", {**VAULT, "data": {"data": None, "metadata": {"deletion_time": "x"}}}
    ),
    "vault-kv1": document("vault_kv1", {**VAULT, "data": {"STRIPE_KEY": STRIPE}}),
    "vault-table": text(
        "printed_table",
        f"====== Data ======\nKey         Value\n---         -----\nkey  {STRIPE}\n",
    ),
    "kubernetes-yaml": text(
        "kubernetes",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop\ndata:\n  STRIPE_KEY: "
        f"{base64.b64encode(STRIPE.encode()).decode()}\n",
    ),
    "kubernetes-json": document(
        "kubernetes",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "data": {"STRIPE_KEY": base64.b64encode(STRIPE.encode()).decode()},
        },
    ),
    "sealed-secret": text(
        "sealed",
        f"kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nspec:\n  encryptedData:\n    a: {SEALED}\n",
        " SealedSecret",
    ),
    "google": document(
        "google",
        {
            "type": "service_account",
            "project_id": "shop",
            "private_key_id": made("kid", 40, "0123456789abcdef"),
            "private_key": f"-----BEGIN PRIVATE KEY-----\n{SEALED}\n-----END PRIVATE KEY-----\n",
        },
    ),
    "dotenvx": text(
        "dotenvx",
        f'DOTENV_PUBLIC_KEY="{made("pub", 66, "0123456789abcdef")}"\nSTRIPE_KEY="encrypted:{SEALED}"\n',
    ),
    "dotenvx-keys": text(
        "dotenvx_keys", f"DOTENV_PRIVATE_KEY={made('priv', 64, '0123456789abcdef')}\n"
    ),
    "docker-inspect": document(
        "docker", [{"Id": "x", "Config": {"Env": [f"STRIPE_KEY={STRIPE}"]}}]
    ),
    "docker-lines": text(
        "", f'      "STRIPE_KEY={STRIPE}",\n      "GITHUB_TOKEN={GITHUB}",\n', *NAMES
    ),
    "json": document("json", {"STRIPE_KEY": STRIPE, "A": "c2VjcmV0LXZhbHVlMQ=="}),
    "json-one-line": text("json", '{"A":"c2VjcmV0LXZhbHVlMQ=="}'),
    "json-nested": document("json_nested", {"shop": {"STRIPE_KEY": STRIPE}}),
    "json-cut": text("json_broken", json.dumps({"STRIPE_KEY": STRIPE, "B": GITHUB}, indent=1)[:-9]),
    "json-lines": text("json_lines", f'{{"a": "{STRIPE}"}}\n{{"a": "{GITHUB}"}}\n'),
    "json-list": document("json_list", [STRIPE, GITHUB]),
    "yaml": text("yaml", f"---\nstripe_key: {STRIPE}\n"),
    "yaml-plain": text("yaml", f"# keys\nshop:\n  stripe_key: {STRIPE}\n"),
    "yaml-tight": text("", f"STRIPE_KEY:{made('tight', 30)}==\n"),
    "compose": text(
        "compose", f"version: '3'\nservices:\n  web:\n    environment:\n      A: {STRIPE}\n"
    ),
    "pem": text(
        "private_key", f"-----BEGIN PRIVATE KEY-----\n{SEALED}\n-----END PRIVATE KEY-----\n"
    ),
    "age": text(
        "age", f"-----BEGIN AGE ENCRYPTED FILE-----\n{SEALED}\n-----END AGE ENCRYPTED FILE-----\n"
    ),
    "pgp": text("pgp", f"-----BEGIN PGP MESSAGE-----\n\n{SEALED}\n-----END PGP MESSAGE-----\n"),
    "ini": text("ini", f"[stripe]\nkey = {STRIPE}\n"),
    "netrc": text("netrc", f"machine api.example login me password {PASSWORD}\n"),
    "npmrc": text("npmrc", f"//registry.example/:_authToken={made('npm', 36, before='npm_')}\n"),
    "powershell": text("powershell", f'$env:STRIPE_KEY = "{STRIPE}"\n'),
    "fish": text("script", f"set -gx STRIPE_KEY {STRIPE}\n"),
    "web-page": text("html", f"<!DOCTYPE html><html><body>{PASSWORD}</body></html>"),
    "keepass-xml": text("xml", f'<?xml version="1.0"?>\n<KeePassFile>{PASSWORD}</KeePassFile>\n'),
    "git-crypt": Sample("git_crypt", b"\x00GITCRYPT\x00" + bytes(range(128, 200))),
    "keepass-database": Sample("kdbx", b"\x03\xd9\xa2\x9a" + bytes(range(200))),
    "other-csv": text("other_table", f"token,customer\n{STRIPE},Shop\n"),
    "other-csv-semicolon": text("other_table", f"Service;Secret\nbilling;{PASSWORD}\n"),
    "csv-no-header": text("", f"billing;{STRIPE}\nshop;{GITHUB}\n"),
    "excel": text("", f"sep=;\nname;secret\nStripe;{STRIPE}\n", "Stripe"),
    "csv-swapped": text("", f"name,secret\n{PASSWORD},STRIPE_KEY\n{GITHUB},GITHUB_TOKEN\n"),
    "csv-names": text("", f"name\n{STRIPE}\n{made('base', 30, BASE64)}==\n{GITHUB}\n"),
    "bare-keys": text("", f"{STRIPE}\n{GITHUB}\n{PASSWORD}\n"),
    "bare-base64": text("", "YWJjZGVmZ2hpamtsbQ==\n"),
    "bare-base64-one": text("", made("one", 31, WORDS) + "=\n"),
    "curl": text("curl", f"curl -H 'Authorization: Bearer {STRIPE}' https://api.example/v1\n"),
}
