"""Let several former texts of a token open, each until its own end, in the statement that there is."""

from importlib import import_module

from django.db import migrations, models

_again = import_module("keyvault.migrations.0008_fetch_again")
_copies = import_module("keyvault.migrations.0011_copies")

# guard: former texts part of what is confirmed
_STATE = _again.STATE.replace("token.former_until,", "token.former_until, token.formers,", 1)


def _whole(text: str) -> str:
    return text.replace("STATE", _STATE).replace("THINGS", _again.THINGS)


_NAME = "keyvault_find_for_fetch(text, bigint, text)"
FIND = f"DROP FUNCTION {_NAME};\n" + _copies.FIND.replace(
    "state text", "state text, formers jsonb, texts_used jsonb", 1
).replace("held.last_at, STATE", "held.last_at, STATE, token.formers, token.texts_used", 1)
ALL_STATE = _again.ALL_STATE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1).replace(
    "token.former_until,", "token.former_until, token.formers,", 1
)
AGAIN = _again.AGAIN.replace("CREATE PROCEDURE", "CREATE OR REPLACE PROCEDURE", 1)

# The one former text that there was so far, with its row among those of whom it was shown.
KEEP = """
UPDATE keyvault_servicetoken token SET
    formers = jsonb_build_array(jsonb_build_object('text', text.id, 'digest', token.former_digest,
        'until', to_char(token.former_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'shown_at', to_char(text.shown_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'shown_to', coalesce(nullif(member.first_name, ''), member.email, ''))),
    texts_used = CASE WHEN token.former_used_at IS NULL THEN '{}'::jsonb ELSE jsonb_build_object(
        text.id::text, to_char(token.former_used_at AT TIME ZONE 'UTC',
            'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')) END
FROM keyvault_tokentext text LEFT JOIN keyvault_member member ON member.id = text.member_id
WHERE token.former_digest <> '' AND token.former_until > now() AND text.id = (
    SELECT id FROM keyvault_tokentext WHERE token_id = token.id AND ends_at IS NOT NULL
    ORDER BY shown_at DESC, id DESC LIMIT 1)
"""
# Whether the present text is used is not known: it counts as used since the token was.
PRESENT = """
UPDATE keyvault_servicetoken SET texts_used = texts_used || jsonb_build_object('present',
    to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))
WHERE last_used_at IS NOT NULL
"""


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0015_holds_on_keys")]

    operations = [
        migrations.AddField(
            model_name="servicetoken",
            name="formers",
            field=models.JSONField(blank=True, db_default=[], default=list, editable=False),
        ),
        migrations.AddField(
            model_name="servicetoken",
            name="texts_used",
            field=models.JSONField(blank=True, db_default={}, default=dict, editable=False),
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
        migrations.RunSQL(PRESENT, migrations.RunSQL.noop),
        migrations.RunSQL(_whole(FIND), f"DROP FUNCTION {_NAME};" + _again.whole(_copies.FIND)),
        migrations.RunSQL(
            ALL_STATE, _again.ALL_STATE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)
        ),
        migrations.RunSQL(_whole(AGAIN), _again.whole(AGAIN)),
    ]
