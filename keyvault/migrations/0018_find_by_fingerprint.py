from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("keyvault", "0017_whose_account")]

    operations = [
        migrations.AddIndex(
            model_name="keyversion",
            index=models.Index(fields=["fingerprint"], name="version_by_fingerprint"),
        ),
    ]
