from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0003_people_groups_and_approvals")]

    # What `createcachetable` would make; as a migration it is there wherever the schema is.
    operations = [
        migrations.RunSQL(
            sql=[
                "CREATE TABLE keyvault_cache (cache_key varchar(255) PRIMARY KEY,"
                " value text NOT NULL, expires timestamptz NOT NULL)",
                "CREATE INDEX keyvault_cache_expires ON keyvault_cache (expires)",
            ],
            reverse_sql="DROP TABLE keyvault_cache",
        )
    ]
