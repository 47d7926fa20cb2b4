"""Find the oldest notices, which are dropped after a while, without reading all."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0021_leftovers"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(fields=["created_at"], name="notice_age"),
        ),
    ]
