"""Tell further chats and pagers, through the library Apprise where it is installed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0019_fast_lists"),
    ]

    operations = [
        migrations.AlterField(
            model_name="hook",
            name="kind",
            field=models.CharField(
                choices=[
                    ("chat", "Slack or a chat that speaks like it"),
                    ("signed", "A program (signed webhook)"),
                    ("apprise", "Another chat or a pager, by Apprise"),
                ],
                max_length=10,
            ),
        ),
    ]
