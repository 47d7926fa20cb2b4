"""Models get the names that the field uses. The tables keep theirs: nothing changes in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("keyvault", "0019_retired_keys"),
    ]

    operations = [
        migrations.AlterModelTable("account", "keyvault_account"),
        migrations.RenameModel("Account", "VendorAccount"),
        migrations.AlterModelTable("tally", "keyvault_tally"),
        migrations.RenameModel("Tally", "RateLimitCounter"),
        migrations.AlterModelTable("tokentext", "keyvault_tokentext"),
        migrations.RenameModel("TokenText", "TokenDisclosure"),
        migrations.AlterModelTable("reveal", "keyvault_reveal"),
        migrations.RenameModel("Reveal", "SecretDisclosure"),
        migrations.AlterModelTable("fetch", "keyvault_holding"),
        migrations.RenameModel("Fetch", "TokenKeyVersion"),
        migrations.AlterModelTable("leftover", "rotation_leftover"),
        migrations.RenameModel("Leftover", "OrphanedSecret"),
    ]
