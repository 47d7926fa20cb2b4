"""Remember the addresses and signing secrets in Vault that no row names, so that they are destroyed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0020_apprise_hooks"),
    ]

    operations = [
        migrations.CreateModel(
            name="Leftover",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("path", models.UUIDField(editable=False, unique=True)),
                ("since", models.DateTimeField(auto_now_add=True)),
                ("doomed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"ordering": ["pk"]},
        ),
    ]
