"""What to put into an application so that it has its key: a .env file, a wrapper, a shell."""

from django.conf import settings

from keyvault.models import ApiKey


def env_file(key: ApiKey, token: str) -> str:
    """Return the lines for a .env file: the token and the key's number, never the key itself."""
    return f"KEYVAULT_URL={settings.BASE_URL}\nKEYVAULT_TOKEN={token}\nKEYVAULT_KEY_ID={key.pk}\n"


def wrapper(key: ApiKey, variable: str) -> str:
    """Return the line that runs a program with the key in `variable`, and anew after a rotation."""
    return f"python3 keyvault_run.py --set {variable}={key.pk} -- YOUR-PROGRAM\n"


def shell(variable: str) -> str:
    """Return the lines for a shell that loaded the .env file; the key ends up in `variable`."""
    return (
        f'export {variable}="$(curl -fsS -H "Authorization: Bearer $KEYVAULT_TOKEN" \\\n'
        '  "$KEYVAULT_URL/api/v1/keys/$KEYVAULT_KEY_ID/secret" \\\n'
        '  | python3 -c \'import json, sys; print(json.load(sys.stdin)["secret"])\')"\n'
    )
