"""Keep the log in one partition a month, so that old months can be archived and dropped whole.

Partitions are ranges of sequence numbers, not of times: the chain decides what stands where, and a
clock that jumps cannot put a row into a month that was closed.
"""

from django.conf import settings
from django.db import migrations, models

PARTITION = """
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT indexname FROM pg_indexes
        WHERE schemaname = 'public' AND tablename = 'audit_auditevent'
    LOOP EXECUTE format('ALTER INDEX %I RENAME TO %I', one.indexname, 'first_' || one.indexname);
    END LOOP;
END $$;
ALTER TABLE audit_auditevent RENAME TO audit_auditevent_first;
CREATE TABLE audit_auditevent (LIKE audit_auditevent_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (seq);
ALTER TABLE audit_auditevent ADD PRIMARY KEY (seq);
CREATE INDEX audit_by_key ON audit_auditevent (key_id, seq DESC);
CREATE INDEX audit_by_actor ON audit_auditevent (actor_kind, actor_id, seq DESC);
CREATE INDEX audit_by_action ON audit_auditevent (action, seq DESC);
CREATE INDEX audit_by_object ON audit_auditevent (object_kind, object_id, seq DESC);
CREATE INDEX audit_by_time ON audit_auditevent (at);
ALTER TABLE audit_auditevent ATTACH PARTITION audit_auditevent_first
    FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
INSERT INTO audit_partition (name, first_seq, began_at)
    SELECT 'audit_auditevent_first', 1, coalesce(min(at), now()) FROM audit_auditevent;
"""

# Closing a month means giving the open partition its upper bound, which Postgres checks by reading
# it; the head is locked meanwhile, and lock_timeout ends the attempt if a long reader is in the way.
ROLL = """
CREATE FUNCTION audit_roll() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    old record;
    head bigint;
    fresh text;
BEGIN
    SELECT id, name, first_seq, began_at INTO STRICT old
        FROM public.audit_partition WHERE last_seq IS NULL FOR UPDATE;
    IF date_trunc('month', old.began_at AT TIME ZONE 'UTC')
        >= date_trunc('month', now() AT TIME ZONE 'UTC') THEN
        RETURN '';
    END IF;
    SELECT seq INTO STRICT head FROM public.audit_chainhead WHERE id = 1 FOR UPDATE;
    IF head < old.first_seq THEN
        UPDATE public.audit_partition SET began_at = now() WHERE id = old.id;
        RETURN '';
    END IF;
    fresh := 'audit_auditevent_' || (head + 1)::text;
    EXECUTE format('ALTER TABLE public.audit_auditevent DETACH PARTITION public.%I', old.name);
    EXECUTE format(
        'ALTER TABLE public.audit_auditevent ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)',
        old.name, CASE WHEN old.first_seq = 1 THEN 'MINVALUE' ELSE old.first_seq::text END, head + 1);
    EXECUTE format(
        'CREATE TABLE public.%I PARTITION OF public.audit_auditevent FOR VALUES FROM (%s) TO (MAXVALUE)',
        fresh, head + 1);
    EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC{role}', fresh);
    UPDATE public.audit_partition SET last_seq = head, closed_at = now() WHERE id = old.id;
    INSERT INTO public.audit_partition (name, first_seq, began_at) VALUES (fresh, head + 1, now());
    RETURN old.name;
END $$;
"""


def _role(schema_editor):
    """Return the app's role, quoted, or None when one role is all there is."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_user = %s", [settings.DATABASE_APP_ROLE])
        alone = cursor.fetchone()[0]
    return None if alone else schema_editor.quote_name(settings.DATABASE_APP_ROLE)


def partition(apps, schema_editor):
    role = _role(schema_editor)
    schema_editor.execute(PARTITION, None)
    schema_editor.execute(ROLL.replace("{role}", f", {role}" if role else ""), None)
    if role is None:
        return
    for table in ("audit_auditevent", "audit_auditevent_first", "audit_partition"):
        schema_editor.execute(f"REVOKE ALL ON {table} FROM PUBLIC, {role}")
    for table in ("audit_auditevent", "audit_partition"):
        schema_editor.execute(f"GRANT SELECT ON {table} TO {role}")
    schema_editor.execute("REVOKE ALL ON FUNCTION audit_roll() FROM PUBLIC")
    schema_editor.execute(f"GRANT EXECUTE ON FUNCTION audit_roll() TO {role}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_checkpoint_rights")]

    operations = [
        migrations.CreateModel(
            name="Partition",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=63, unique=True)),
                ("first_seq", models.BigIntegerField()),
                ("last_seq", models.BigIntegerField(null=True)),
                ("began_at", models.DateTimeField()),
                ("closed_at", models.DateTimeField(null=True)),
                ("archived_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="CheckpointExport",
            fields=[
                ("target", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("last_id", models.BigIntegerField(default=0)),
                ("sent_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, default="", max_length=300)),
            ],
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField("auditevent", "at", models.DateTimeField()),
                migrations.AddIndex(
                    "auditevent", models.Index(fields=["at"], name="audit_by_time")
                ),
            ],
            database_operations=[migrations.RunPython(partition)],
        ),
    ]
