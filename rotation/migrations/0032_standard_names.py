"""Models get the names that the field uses. The tables keep theirs: nothing changes in the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("rotation", "0031_retirements"),
        ("keyvault", "0020_standard_names"),
    ]

    operations = [
        migrations.AlterModelTable("hook", "rotation_hook"),
        migrations.RenameModel("Hook", "NotificationChannel"),
        migrations.AlterModelTable("message", "rotation_message"),
        migrations.RenameModel("Message", "NotificationDelivery"),
        migrations.AlterModelTable("notice", "rotation_notice"),
        migrations.RenameModel("Notice", "Notification"),
        migrations.AlterModelTable("preference", "rotation_preference"),
        migrations.RenameModel("Preference", "NotificationPreference"),
        migrations.AlterModelTable("delivery", "rotation_delivery"),
        migrations.RenameModel("Delivery", "WebhookDelivery"),
        migrations.AlterModelTable("policylevel", "rotation_policylevel"),
        migrations.RenameModel("PolicyLevel", "PolicyScope"),
        migrations.AlterModelTable("freeze", "rotation_freeze"),
        migrations.RenameModel("Freeze", "ChangeFreeze"),
        migrations.AlterModelTable("freezefeed", "rotation_freezefeed"),
        migrations.RenameModel("FreezeFeed", "FreezeCalendar"),
        migrations.AlterModelTable("replan", "rotation_replan"),
        migrations.RenameModel("Replan", "ReplanProgress"),
        migrations.AlterModelTable("watch", "rotation_watch"),
        migrations.RenameModel("Watch", "KeyCheckSchedule"),
        migrations.AlterModelTable("usage", "rotation_usage"),
        migrations.RenameModel("Usage", "AccountUsage"),
        migrations.AlterModelTable("pause", "rotation_pause"),
        migrations.RenameModel("Pause", "RotationPause"),
        migrations.AlterModelTable("epoch", "rotation_epoch"),
        migrations.RenameModel("Epoch", "RestoreMarker"),
        migrations.AlterModelTable("skippedstep", "rotation_skippedstep"),
        migrations.RenameModel("SkippedStep", "OnboardingSkip"),
    ]
