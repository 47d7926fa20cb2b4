"""Take over the table of what lies in Vault unnamed, and let it name every area of Vault.

The table keeps its name: the release before writes to it as well while this one is rolled out.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0011_copies"),
        ("rotation", "0021_leftovers"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Leftover",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        ("path", models.UUIDField(editable=False, unique=True)),
                        ("since", models.DateTimeField(auto_now_add=True)),
                        ("doomed_at", models.DateTimeField(blank=True, null=True)),
                    ],
                    options={"ordering": ["pk"], "db_table": "rotation_leftover"},
                ),
            ]
        ),
        migrations.AddField(
            model_name="leftover",
            name="area",
            field=models.CharField(db_default="webhooks", editable=False, max_length=20),
        ),
    ]
