from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rotation", "0006_windows_and_freezes")]

    operations = [
        migrations.AlterField(
            model_name="humantask",
            name="text",
            field=models.CharField(blank=True, default="", max_length=4000),
        ),
    ]
