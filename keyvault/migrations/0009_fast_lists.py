"""Let each order and each search of the list of keys use an index of its own."""

from django.db import migrations, models

# Django asks for a part of a name as UPPER(name::text) LIKE. Where the extension is missing or may
# not be made, the same search reads the whole table.
TRIGRAMS = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX key_name_parts ON keyvault_apikey USING gin (upper(name::text) gin_trgm_ops);
EXCEPTION
    WHEN insufficient_privilege OR undefined_file OR feature_not_supported
        OR undefined_object THEN
        RAISE NOTICE 'pg_trgm cannot be used here: searching keys by a part of a name is slower.';
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0008_fetch_again")]

    operations = [
        migrations.AddIndex(
            model_name="apikey",
            index=models.Index(fields=["name", "id"], name="key_by_name"),
        ),
        migrations.AddIndex(
            model_name="keyversion",
            index=models.Index(
                condition=models.Q(("state", "current")),
                fields=["published_at"],
                name="version_by_age",
            ),
        ),
        migrations.AddIndex(
            model_name="keyversion",
            index=models.Index(
                condition=models.Q(("state", "current")),
                fields=["expires_at"],
                name="version_by_end",
            ),
        ),
        migrations.RunSQL(TRIGRAMS, "DROP INDEX IF EXISTS key_name_parts"),
    ]
