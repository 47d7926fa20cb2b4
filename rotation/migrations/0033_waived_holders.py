from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0032_standard_names"),
    ]

    operations = [
        migrations.AddField(
            model_name="rotation",
            name="waived_holders",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
