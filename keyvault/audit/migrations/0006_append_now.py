"""Let a row that commits by itself hold the head of the chain for as long as it is written, no longer.

A plain commit keeps the lock until the disk has answered, so all appends of an installation wait for
one disk write each. Here the commit that frees the head does not wait; the second one does, and by
the order of the write-ahead log it brings the row to the disk with it. Callers at the same moment
share that write. Nobody goes on before it: the procedure returns after it.
"""

from django.db import migrations

# 'CALL' must stand alone, outside a transaction; the rights are those of `audit_append`.
# guard: an audit row is on disk
NOW = """
CREATE PROCEDURE audit_append_now(entry jsonb, INOUT number bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    number := public.audit_append(entry);
    COMMIT;
    PERFORM pg_catalog.pg_logical_emit_message(true, 'keyvault', '');
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0005_monthly_partitions")]

    operations = [migrations.RunSQL(NOW, "DROP PROCEDURE audit_append_now(jsonb, bigint)")]
