"""Let the list of keys be in the order of what rotates next without sorting all of them."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0009_fast_lists"),
        ("rotation", "0018_standbys_to_keep"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="rotationpolicy",
            index=models.Index(fields=["next_run_at"], name="policy_by_run"),
        ),
    ]
