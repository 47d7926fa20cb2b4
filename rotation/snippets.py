"""What to put into an application so that it fetches its key: for a shell and a .env file."""

from django.conf import settings

from keyvault.models import ApiKey


def env_file(key: ApiKey, token: str) -> str:
    """Return the lines for a .env file: the token and the key's number, never the key itself."""
    return f"KEYVAULT_URL={settings.BASE_URL}\nKEYVAULT_TOKEN={token}\nKEYVAULT_KEY_ID={key.pk}\n"


def shell(variable: str) -> str:
    """Return the lines for a shell that loaded the .env file; the key ends up in `variable`."""
    return (
        f'export {variable}="$(curl -fsS -H "Authorization: Bearer $KEYVAULT_TOKEN" \\\n'
        '  "$KEYVAULT_URL/api/v1/keys/$KEYVAULT_KEY_ID/secret" \\\n'
        '  | python3 -c \'import json, sys; print(json.load(sys.stdin)["secret"])\')"\n'
    )
