"""Give the table of what lies in Vault unnamed to the app that writes secrets; no row moves."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0023_replan"),
        ("keyvault", "0012_leftovers_of_every_area"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel(name="Leftover")]
        ),
    ]
