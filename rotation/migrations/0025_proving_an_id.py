"""Note when a key was disabled only to prove its id: whoever comes after a crash must know."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0024_leftovers_moved"),
    ]

    operations = [
        migrations.AddField(
            model_name="intent",
            name="disabled_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="intent",
            name="disabling_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
