"""Lists with filters that people keep under a name; everybody's own."""

from django.db import IntegrityError, transaction

from keyvault.core.errors import BadInput, Conflict
from keyvault.core.validators import require_clean
from keyvault.models import Member
from rotation.models.onboarding import SavedView

_MOST = 50


def saved_views_of(member: Member, kind: SavedView.Of) -> list[SavedView]:
    """Return a person's saved views of one list, by name."""
    return list(SavedView.objects.filter(member=member, of=kind)[:_MOST])


def save_view(member: Member, kind: SavedView.Of, name: str, query: str) -> SavedView:
    """Keep a list's filters under a name; raises BadInput, or Conflict on a used name."""
    if not query:
        raise BadInput("Filter or order the list first: there is nothing to keep yet.")
    view = SavedView(member=member, of=kind, name=" ".join(name.split()), query=query)
    require_clean(view, exclude=["member"])
    if SavedView.objects.filter(member=member, of=kind).count() >= _MOST:
        raise BadInput(f"You keep {_MOST} views already: remove one first. Nothing was stored.")
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise Conflict(f"You have a view named “{view.name}” already.", code="name_used") from None
    return view


def delete_view(member: Member, view_id: int) -> None:
    """Remove one of one's own views; one that is gone already is no error."""
    # guard: views are one's own
    SavedView.objects.filter(member=member, pk=view_id).delete()
