"""Let a fetch that is like the last one be confirmed and recorded in one statement."""

from importlib import import_module

from django.db import migrations

# All that the rules of a fetch ask, and all that its audit row and its answer say.
STATE = """md5(row(token.id, token.digest, token.former_digest, token.former_until,
        token.networks, token.name, token.expires_at, token.revoked_at, application.id,
        application.name, environment.id, environment.name, key.id, key.name, key.environment_id,
        account.id, account.name, version.id, version.number, version.path,
        version.fingerprint)::text)"""

THINGS = """FROM keyvault_servicetoken token
    JOIN keyvault_application application ON application.id = token.application_id
    JOIN keyvault_environment environment ON environment.id = token.environment_id
    LEFT JOIN keyvault_apikey key ON key.id = wanted_key
        AND key.application_id = token.application_id
        AND key.environment_id = token.environment_id
    LEFT JOIN keyvault_account account ON account.id = key.account_id
    LEFT JOIN keyvault_keyversion version ON version.id = key.current_id"""

FIND = """
DROP FUNCTION keyvault_find_for_fetch(text, bigint);
CREATE FUNCTION keyvault_find_for_fetch(wanted_token text, wanted_key bigint)
RETURNS TABLE (
    token_id bigint, public_id text, digest text, former_digest text, former_until timestamptz,
    former_used_at timestamptz, networks jsonb, token_name text, expires_at timestamptz,
    revoked_at timestamptz, last_used_at timestamptz, application_id bigint, application_name text,
    environment_id bigint, environment_name text, key_id bigint, key_name text,
    key_environment_id bigint, account_id bigint, account_name text, version_id bigint,
    version_number integer, version_path uuid, version_fingerprint text, held_version bigint,
    held_at timestamptz, state text
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT token.id, token.public_id::text, token.digest::text, token.former_digest::text,
        token.former_until, token.former_used_at, token.networks, token.name::text,
        token.expires_at, token.revoked_at, token.last_used_at, application.id,
        application.name::text, environment.id, environment.name::text, key.id, key.name::text,
        key.environment_id, account.id, account.name::text, version.id, version.number,
        version.path, version.fingerprint::text, held.version_id, held.last_at, STATE
    THINGS
    LEFT JOIN keyvault_fetch held ON held.token_id = token.id AND held.key_id = key.id
    WHERE token.public_id = wanted_token;
END $$
"""

# Of all keys of the token's application and environment at once.
ALL_STATE = """
CREATE FUNCTION keyvault_fetch_all_state(wanted_token text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT md5(row(token.id, token.digest, token.former_digest, token.former_until, token.networks,
        token.name, token.expires_at, token.revoked_at, application.id, application.name,
        environment.id, environment.name)::text || coalesce(string_agg(row(key.id, key.name,
        version.id, version.number, version.path, version.fingerprint)::text, ','
        ORDER BY key.id), ''))
    FROM keyvault_servicetoken token
    JOIN keyvault_application application ON application.id = token.application_id
    JOIN keyvault_environment environment ON environment.id = token.environment_id
    LEFT JOIN keyvault_apikey key ON key.application_id = token.application_id
        AND key.environment_id = token.environment_id AND key.current_id IS NOT NULL
    LEFT JOIN keyvault_keyversion version ON version.id = key.current_id
    WHERE token.public_id = wanted_token
    GROUP BY token.id, application.id, environment.id
$$
"""

# Without a key: all of them.
# guard: a fetch from memory is confirmed
# guard: a fetch of all from memory is confirmed
AGAIN = """
CREATE PROCEDURE keyvault_fetch_again(
    wanted_token text, wanted_key bigint, known text, entry jsonb, INOUT same boolean)
LANGUAGE plpgsql AS $$
BEGIN
    IF wanted_key IS NULL THEN
        same := keyvault_fetch_all_state(wanted_token) IS NOT DISTINCT FROM known;
    ELSE
        PERFORM 1 THINGS
        WHERE token.public_id = wanted_token AND STATE = known;
        same := FOUND;
    END IF;
    IF same AND entry IS NOT NULL THEN
        -- As in audit_append_now: the head is free at once, and the row on disk before we return.
        PERFORM set_config('synchronous_commit', 'off', true);
        PERFORM public.audit_append(entry);
        COMMIT;
        PERFORM pg_catalog.pg_logical_emit_message(true, 'keyvault', '');
    END IF;
END $$
"""


def whole(text: str) -> str:
    """Return the statement with its two shared parts in their places."""
    return text.replace("STATE", STATE).replace("THINGS", THINGS)


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0007_find_for_fetch"),
        ("audit", "0006_append_now"),
    ]

    operations = [
        migrations.RunSQL(
            whole(FIND),
            "DROP FUNCTION keyvault_find_for_fetch(text, bigint);"
            + import_module("keyvault.migrations.0007_find_for_fetch").FUNCTION,
        ),
        migrations.RunSQL(ALL_STATE, "DROP FUNCTION keyvault_fetch_all_state(text)"),
        migrations.RunSQL(whole(AGAIN), "DROP PROCEDURE keyvault_fetch_again"),
    ]
