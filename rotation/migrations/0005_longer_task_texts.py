from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rotation", "0004_heartbeat_names")]

    operations = [
        migrations.AlterField(
            model_name="humantask",
            name="text",
            field=models.CharField(blank=True, default="", max_length=4000),
        ),
    ]
