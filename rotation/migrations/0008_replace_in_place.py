from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("rotation", "0007_longer_task_texts")]

    operations = [
        migrations.AlterField(
            model_name="intent",
            name="kind",
            field=models.CharField(
                choices=[("create", "Create"), ("delete", "Delete"), ("swap", "replace in place")],
                max_length=6,
            ),
        ),
        migrations.AddConstraint(
            model_name="intent",
            constraint=models.UniqueConstraint(
                condition=Q(kind="swap"), fields=("rotation",), name="intent_swap_once"
            ),
        ),
    ]
