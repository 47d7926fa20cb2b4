"""Which of the first steps somebody chose to leave out, and the lists of keys that people keep."""

from django.db import models

from keyvault.models import Member, name_field


class OnboardingSkip(models.Model):
    """A step of the first-run guide that was left out; the others tell by what there is."""

    step = models.CharField(max_length=20, primary_key=True)
    skipped_by = models.ForeignKey(Member, null=True, on_delete=models.SET_NULL, related_name="+")
    skipped_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "rotation_skippedstep"

    def __str__(self) -> str:
        return f"{self.step} left out"


class SavedView(models.Model):
    """A list with its filters and order, under a name; everybody's own."""

    class Of(models.TextChoices):
        KEYS = "keys"
        AUDIT = "audit"

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="views")
    of = models.CharField(max_length=5, choices=Of.choices)
    name = name_field()
    query = models.CharField(max_length=1000)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["member", "of", "name"], name="view_name_once")
        ]

    def __str__(self) -> str:
        return self.name
