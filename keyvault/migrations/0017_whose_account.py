"""Note which account at the vendor a management credential and each secret belong to."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0016_former_texts"),
    ]

    operations = [
        migrations.AddField(
            model_name="account",
            name="management_fingerprint",
            field=models.CharField(blank=True, default="", editable=False, max_length=64),
        ),
        migrations.AddField(
            model_name="account",
            name="management_since",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="account",
            name="vendor_account",
            field=models.CharField(blank=True, default="", editable=False, max_length=100),
        ),
        migrations.AddField(
            model_name="keyversion",
            name="vendor_account",
            field=models.CharField(blank=True, default="", editable=False, max_length=100),
        ),
    ]
