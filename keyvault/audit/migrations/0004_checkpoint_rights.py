"""The app's role may add checkpoints and read them; it can neither change nor remove one."""

from django.conf import settings
from django.db import migrations


def restrict(apps, schema_editor):
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_user = %s", [settings.DATABASE_APP_ROLE])
        if cursor.fetchone()[0]:
            return
    schema_editor.execute(f"REVOKE ALL ON audit_checkpoint FROM PUBLIC, {role}")
    schema_editor.execute(f"GRANT SELECT, INSERT ON audit_checkpoint TO {role}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_checkpoint")]

    operations = [migrations.RunPython(restrict, migrations.RunPython.noop)]
