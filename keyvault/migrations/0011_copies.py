"""Note what each copy of a program was given, in place of one row for all copies of a token.

The former table and function stay for one release: who still runs it goes on fetching.
"""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

_former = import_module("keyvault.migrations.0008_fetch_again")

# As 0008, but what is held is asked of this copy.
FIND = (
    _former.FIND.split(";\n", 1)[1]
    .replace("wanted_key bigint)", "wanted_key bigint, wanted_copy text)", 1)
    .replace(
        "LEFT JOIN keyvault_fetch held ON held.token_id = token.id AND held.key_id = key.id",
        "LEFT JOIN keyvault_holding held ON held.token_id = token.id AND held.key_id = key.id\n"
        "        AND held.instance = wanted_copy",
    )
)

# One row each, of which the copy is not known: the first that comes takes it over.
KEEP = """
INSERT INTO keyvault_holding (token_id, key_id, instance, version_id, first_at, last_at)
SELECT token_id, key_id, '', version_id, first_at, last_at FROM keyvault_fetch
"""

# A pause is the time between two notes; the longest is kept for eight times its own length. Ids are the
# caller's word, so only so many rows stand for one token and key: what was seen least lately is put
# together by version, as copies that nothing can be proved of any more.
# guard: a copy from before is known once
# guard: made up ids fill no table
# guard: made up ids lose no copy that holds a key
# guard: the longest pause is a copy's rhythm
NOTE = """
CREATE FUNCTION keyvault_note_copy(
    the_token bigint, the_copy text, now timestamptz, keys bigint[], versions bigint[], most integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE the_key bigint;
BEGIN
    IF EXISTS (SELECT 1 FROM keyvault_holding WHERE token_id = the_token AND instance = ''
            AND key_id = ANY (keys)) AND the_copy <> '' THEN
        BEGIN
            UPDATE keyvault_holding held SET instance = the_copy
            FROM (SELECT id FROM keyvault_holding WHERE token_id = the_token AND instance = ''
                AND key_id = ANY (keys) ORDER BY key_id FOR UPDATE SKIP LOCKED) unknown
            WHERE held.id = unknown.id AND NOT EXISTS (SELECT 1 FROM keyvault_holding known
                WHERE known.token_id = the_token AND known.key_id = held.key_id
                AND known.instance = the_copy);
        EXCEPTION WHEN unique_violation THEN
            NULL; -- the same copy came twice at once
        END;
    END IF;
    INSERT INTO keyvault_holding AS held (token_id, key_id, instance, version_id, first_at, last_at)
    SELECT the_token, given.key, the_copy, given.version, now, now
    FROM unnest(keys, versions) AS given (key, version)
    ORDER BY given.key
    ON CONFLICT (token_id, key_id, instance) DO UPDATE SET version_id = excluded.version_id,
        former_id = CASE WHEN held.version_id = excluded.version_id THEN held.former_id
            ELSE held.version_id END,
        first_at = CASE WHEN held.version_id = excluded.version_id THEN held.first_at
            ELSE excluded.first_at END,
        last_at = excluded.last_at,
        pause_seconds = CASE WHEN PAUSED
            THEN least(extract(epoch FROM excluded.last_at - held.last_at), 2000000000)
            ELSE held.pause_seconds END,
        pause_at = CASE WHEN PAUSED THEN excluded.last_at ELSE held.pause_at END
    WHERE held.version_id <> excluded.version_id
        OR held.last_at < excluded.last_at - interval '1 minute';
    FOR the_key IN
        SELECT key_id FROM keyvault_holding WHERE token_id = the_token AND key_id = ANY (keys)
            AND left(instance, 1) <> '*'
        GROUP BY key_id HAVING count(*) > most ORDER BY key_id
    LOOP
        WITH folded AS (
            DELETE FROM keyvault_holding WHERE id IN (
                SELECT id FROM keyvault_holding WHERE token_id = the_token AND key_id = the_key
                    AND left(instance, 1) <> '*' AND instance <> the_copy
                ORDER BY last_at DESC, id DESC OFFSET most - 1 FOR UPDATE SKIP LOCKED)
            RETURNING *)
        INSERT INTO keyvault_holding AS held (token_id, key_id, instance, version_id, former_id,
            first_at, last_at, pause_seconds, copies)
        SELECT the_token, the_key, '*' || version_id, version_id, max(former_id), min(first_at),
            max(last_at), max(pause_seconds), sum(copies)
        FROM folded GROUP BY version_id ORDER BY version_id
        ON CONFLICT (token_id, key_id, instance) DO UPDATE SET
            former_id = coalesce(held.former_id, excluded.former_id),
            last_at = greatest(held.last_at, excluded.last_at),
            pause_seconds = greatest(held.pause_seconds, excluded.pause_seconds),
            copies = least(held.copies::bigint + excluded.copies, 1000000);
    END LOOP;
END $$
""".replace(
    "PAUSED",
    "excluded.last_at - held.last_at >= interval '1 minute'\n"
    "            AND (extract(epoch FROM excluded.last_at - held.last_at) >= held.pause_seconds\n"
    "                OR held.pause_at < excluded.last_at - 8 * make_interval(\n"
    "                    secs => held.pause_seconds))",
)


def _to(model, **options):
    """Return a reference without a way back."""
    return models.ForeignKey(related_name="+", to=f"keyvault.{model}", **options)


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0010_leavers_and_returners")]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel("Fetch")]),
        migrations.CreateModel(
            name="Fetch",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "token",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fetches",
                        to="keyvault.servicetoken",
                    ),
                ),
                (
                    "key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="fetches",
                        to="keyvault.apikey",
                    ),
                ),
                ("instance", models.CharField(db_default="", default="", max_length=64)),
                ("version", _to("keyversion", on_delete=django.db.models.deletion.CASCADE)),
                (
                    "former",
                    _to("keyversion", on_delete=django.db.models.deletion.SET_NULL, null=True),
                ),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("pause_seconds", models.PositiveIntegerField(db_default=0, default=0)),
                ("pause_at", models.DateTimeField(null=True)),
                (
                    "proved",
                    _to("keyversion", on_delete=django.db.models.deletion.SET_NULL, null=True),
                ),
                ("proved_at", models.DateTimeField(null=True)),
                ("copies", models.PositiveIntegerField(db_default=1, default=1)),
            ],
            options={
                "db_table": "keyvault_holding",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("token", "key", "instance"), name="holding_once"
                    )
                ],
            },
        ),
        migrations.RunSQL(KEEP, migrations.RunSQL.noop),
        migrations.RunSQL(
            _former.whole(FIND), "DROP FUNCTION keyvault_find_for_fetch(text, bigint, text)"
        ),
        migrations.RunSQL(
            NOTE,
            "DROP FUNCTION keyvault_note_copy(bigint, text, timestamptz, bigint[], bigint[], integer)",
        ),
    ]
