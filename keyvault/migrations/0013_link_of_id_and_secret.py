"""Note of each version what shows that its id at the vendor is that of its secret."""

from django.db import migrations, models

# What we made ourselves came with its id in one answer.
MADE_HERE = """
UPDATE keyvault_keyversion SET link = 'answer', linked_at = created_at
WHERE source = 'created' AND vendor_id <> ''
"""


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0012_leftovers_of_every_area"),
    ]

    operations = [
        migrations.AddField(
            model_name="keyversion",
            name="link",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "Not proven"),
                    ("answer", "The vendor gave both in one answer"),
                    ("refusal", "Disabled by its id, the secret was refused"),
                    ("mask", "The vendor shows the end of this secret beside the id"),
                    ("use", "A call with the secret moved the last use of the id"),
                    ("refuted", "The id does not belong to this secret"),
                ],
                default="",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="keyversion",
            name="link_text",
            field=models.CharField(blank=True, default="", max_length=400),
        ),
        migrations.AddField(
            model_name="keyversion",
            name="linked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="keyversion",
            index=models.Index(
                condition=models.Q(("vendor_id", ""), _negated=True),
                fields=["vendor_id"],
                name="version_by_vendor_id",
            ),
        ),
        migrations.RunSQL(MADE_HERE, migrations.RunSQL.noop),
    ]
