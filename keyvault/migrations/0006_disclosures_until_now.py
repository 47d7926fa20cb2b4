from django.db import migrations

# Who was shown what until now, from the audit log. Of a token that was renewed, every older text is
# taken to have opened until then: rather one key too many than one that nobody knows of.
SMALL_LETTERS = """
UPDATE keyvault_member SET email = lower(email), username = lower(username)
WHERE email <> lower(email) OR username <> lower(username)
"""
REVEALS = """
INSERT INTO keyvault_reveal (member_id, version_id, first_at, last_at)
SELECT m.id, v.id, min(e.at), max(e.at)
FROM audit_auditevent e
JOIN keyvault_member m ON m.id::text = e.actor_id
JOIN keyvault_keyversion v ON v.key_id = e.key_id
    AND v.number::text = e.payload::json -> 'detail' ->> 'version'
WHERE e.action = 'secret.revealed' AND e.outcome = 'ok' AND e.actor_kind = 'member'
GROUP BY m.id, v.id
"""
TEXTS = """
WITH shown AS (
    SELECT t.id AS token, t.created_by_id AS member, t.created_at AS at FROM keyvault_servicetoken t
    UNION
    SELECT t.id, m.id, e.at FROM audit_auditevent e
    JOIN keyvault_servicetoken t ON t.id::text = e.object_id
    JOIN keyvault_member m ON m.id::text = e.actor_id
    WHERE e.action = 'token.renewed' AND e.outcome = 'ok' AND e.actor_kind = 'member'
        AND e.object_kind = 'servicetoken'
), ordered AS (
    SELECT token, member, at, lead(at) OVER (PARTITION BY token ORDER BY at) AS next FROM shown
)
INSERT INTO keyvault_tokentext (token_id, member_id, shown_at, ends_at)
SELECT o.token, o.member, o.at,
    CASE WHEN o.next IS NULL THEN NULL ELSE greatest(o.next, t.former_until) END
FROM ordered o JOIN keyvault_servicetoken t ON t.id = o.token
"""


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0005_disclosures"),
        ("audit", "0005_monthly_partitions"),
    ]

    operations = [
        migrations.RunSQL(SMALL_LETTERS, migrations.RunSQL.noop),
        migrations.RunSQL(REVEALS, migrations.RunSQL.noop),
        migrations.RunSQL(TEXTS, migrations.RunSQL.noop),
    ]
