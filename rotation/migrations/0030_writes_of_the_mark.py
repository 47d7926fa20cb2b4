"""Remember how often Vault's mark was written: an older answer is then known for one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rotation", "0029_no_verdict_since")]

    operations = [
        migrations.AddField(
            model_name="epoch",
            name="writes",
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
