from django.db import migrations

# One round trip and no planning: a function keeps its plan for each connection, while the statement
# of five joins would be planned anew for every fetch.
FUNCTION = """
CREATE FUNCTION keyvault_find_for_fetch(wanted_token text, wanted_key bigint)
RETURNS TABLE (
    token_id bigint, public_id text, digest text, former_digest text, former_until timestamptz,
    former_used_at timestamptz, networks jsonb, token_name text, expires_at timestamptz,
    revoked_at timestamptz, last_used_at timestamptz, application_id bigint, application_name text,
    environment_id bigint, environment_name text, key_id bigint, key_name text,
    key_environment_id bigint, account_id bigint, account_name text, version_id bigint,
    version_number integer, version_path uuid, version_fingerprint text, held_version bigint,
    held_at timestamptz
) LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT token.id, token.public_id::text, token.digest::text, token.former_digest::text,
        token.former_until, token.former_used_at, token.networks, token.name::text,
        token.expires_at, token.revoked_at, token.last_used_at, application.id,
        application.name::text, environment.id, environment.name::text, key.id, key.name::text,
        key.environment_id, account.id, account.name::text, version.id, version.number,
        version.path, version.fingerprint::text, held.version_id, held.last_at
    FROM keyvault_servicetoken token
    JOIN keyvault_application application ON application.id = token.application_id
    JOIN keyvault_environment environment ON environment.id = token.environment_id
    LEFT JOIN keyvault_apikey key ON key.id = wanted_key
        AND key.application_id = token.application_id
        AND key.environment_id = token.environment_id
    LEFT JOIN keyvault_account account ON account.id = key.account_id
    LEFT JOIN keyvault_keyversion version ON version.id = key.current_id
    LEFT JOIN keyvault_fetch held ON held.token_id = token.id AND held.key_id = key.id
    WHERE token.public_id = wanted_token;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0006_disclosures_until_now")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION keyvault_find_for_fetch(text, bigint)"),
    ]
