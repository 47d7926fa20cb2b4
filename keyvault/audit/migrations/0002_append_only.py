"""Let the app's role append through one function and do nothing else to the log."""

from django.conf import settings
from django.db import migrations

FUNCTION = """
CREATE FUNCTION audit_append(entry jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    head record;
    number bigint;
    now_at timestamptz;
    body text;
    digest bytea;
BEGIN
    -- The head is locked last and held until the caller commits: one line, no gaps.
    SELECT seq, hash INTO STRICT head FROM public.audit_chainhead WHERE id = 1 FOR UPDATE;
    number := head.seq + 1;
    now_at := clock_timestamp();
    body := (entry || jsonb_build_object(
        'seq', number,
        'at', to_char(now_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))::text;
    digest := sha256('\\x01'::bytea || int8send(number) || head.hash || convert_to(body, 'UTF8'));
    INSERT INTO public.audit_auditevent (seq, at, action, outcome, actor_kind, actor_id, actor_label,
        object_kind, object_id, object_label, key_id, request_id, payload, prev, hash)
    VALUES (number, now_at, entry->>'action', entry->>'outcome', entry->>'actor_kind',
        entry->>'actor_id', entry->>'actor_label', entry->>'object_kind', entry->>'object_id',
        entry->>'object_label', (entry->>'key_id')::bigint, entry->>'request_id', body,
        head.hash, digest);
    UPDATE public.audit_chainhead SET seq = number, hash = digest WHERE id = 1;
    RETURN number;
END $$;
INSERT INTO audit_chainhead (id, seq, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'));
"""


def restrict(apps, schema_editor):
    """Take every right but reading from the app's role; the owner's role keeps its own."""
    role = schema_editor.quote_name(settings.DATABASE_APP_ROLE)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_user = %s", [settings.DATABASE_APP_ROLE])
        if cursor.fetchone()[0]:
            return  # one role for all: `check --deploy` says what that costs
    for table in ("audit_auditevent", "audit_chainhead"):
        schema_editor.execute(f"REVOKE ALL ON {table} FROM PUBLIC, {role}")
        schema_editor.execute(f"GRANT SELECT ON {table} TO {role}")
    schema_editor.execute("REVOKE ALL ON FUNCTION audit_append(jsonb) FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION audit_append(jsonb) TO {role}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION audit_append(jsonb)"),
        migrations.RunPython(restrict, migrations.RunPython.noop),
    ]
