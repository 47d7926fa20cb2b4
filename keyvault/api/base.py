"""What our views for members share: who asks, strict bodies and filters, pages by cursor."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Model, QuerySet
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from keyvault.access.authentication import proved_lately
from keyvault.core import dates
from keyvault.core.errors import BadInput, Denied
from keyvault.core.json_bodies import CappedJSONParser, require_text, shown
from keyvault.models import Member

LARGEST_ID = 2**63 - 1
METHODS = ["get", "post", "put", "patch", "delete"]
_PAGE, _LARGEST_PAGE = 50, 200


class SignedIn(SessionAuthentication):
    """The console's session with its cross-site check; whoever has none is told so with a 401."""

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        """Return the challenge that a 401 must carry."""
        return "Session"


class JsonOnly(DefaultContentNegotiation):
    """Answer in JSON whatever the caller would rather have; no query parameter changes that."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> Any:
        """Return the one renderer there is."""
        return renderers[0], renderers[0].media_type


class SignedInScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema describes a session."""

    target_class = "keyvault.api.base.SignedIn"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        """Return the scheme; the cookie's name depends on settings and is of no use here."""
        return {"type": "apiKey", "in": "cookie", "name": "session"}


class Fields(serializers.Serializer[Any]):
    """The fields of a body or of a query; an unknown one is refused, since it was meant."""

    def to_internal_value(self, data: Any) -> Any:
        """Check names first, then values."""
        unknown = sorted({shown(name) for name in data if name not in self.fields})
        if unknown:
            raise BadInput(
                "There is no field {unknown} here. Possible: {fields}. Nothing was changed.".format(
                    unknown=", ".join(unknown), fields=", ".join(self.fields)
                ),
                code="unknown_field",
                details={"fields": unknown},
            )
        return super().to_internal_value(data)


class IdField(serializers.IntegerField):
    """The id of a thing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=1, max_value=LARGEST_ID, **options)


class SecretField(serializers.CharField):
    """A secret as pasted: exactly as it is, in requests only, never repeated in an error."""

    def __init__(self, **options: Any) -> None:
        options = {"write_only": True, "trim_whitespace": False, "allow_blank": True, **options}
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> str:
        """Take text only: a number would lose its leading zeros."""
        if not isinstance(data, str):
            self.fail("invalid")
        return data


class AsItIsField(serializers.BooleanField):
    """A person's word that a secret is the vendor's and really looks so, where that is in doubt."""

    def __init__(self, **options: Any) -> None:
        text = "The key is this vendor's and really looks so: said after code is_it_so or not_this_vendors"
        super().__init__(**{"default": False, "help_text": text, **options})


class ExpiryField(serializers.DateTimeField):
    """When a key ends: a date (at its start, in UTC), or a time, in UTC unless it has an offset."""

    def to_internal_value(self, value: Any) -> datetime | None:  # type: ignore[override]
        """Return the moment; BadInput for what is none, and for one that has passed."""
        text = value if isinstance(value, str) else "neither"
        return dates.end_as_typed(text, timezone.now())


class PageQuery(Fields):
    """What every list takes."""

    cursor = IdField(required=False, help_text="`next` of the page before")
    limit = serializers.IntegerField(min_value=1, max_value=_LARGEST_PAGE, default=_PAGE)


def listing(
    query: type[PageQuery], row: type[serializers.BaseSerializer[Any]]
) -> Callable[[Any], Any]:
    """Describe a list in the schema: its filters, and a page of rows as its answer."""
    name = row.__name__.removesuffix("Serializer")
    page = inline_serializer(
        f"{name}Page",
        {"results": row(many=True), "next": serializers.CharField(allow_null=True)},
    )
    return extend_schema(operation_id=f"list_{name.lower()}", parameters=[query], responses=page)


class MemberView(APIView):
    """A view for a signed-in member; it knows no OPTIONS, and none of its answers is stored."""

    authentication_classes = [SignedIn]
    parser_classes = [CappedJSONParser]
    content_negotiation_class = JsonOnly
    http_method_names = METHODS
    query_class: type[Fields] | None = None

    @property
    def by(self) -> Member:
        """Return who asks."""
        assert isinstance(self.request.user, Member)
        return self.request.user

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse query parameters that this route does not know, after the sign-in was checked."""
        super().initial(request, *args, **kwargs)
        wanted = self.query_class if request.method == "GET" else None
        self.filters = self._fields(wanted or Fields, self._query(request))

    def prove(self) -> None:
        """Refuse what can undo much to a session whose person did not prove lately who they are."""
        if not proved_lately(self.request):
            raise Denied(
                (
                    "Prove again who you are: sign in anew, or confirm your password in the console. "
                    "Nothing was done."
                ),
                code="proof_required",
            )

    def body(self, fields: type[Fields], defaults: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the checked fields of the body; `defaults` stand for what is not given."""
        assert isinstance(self.request.data, dict)
        return self._fields(fields, {**(defaults or {}), **self.request.data})

    def page(
        self,
        rows: QuerySet[Any],
        serializer: type[serializers.BaseSerializer[Any]],
        order: str = "pk",
    ) -> Response:
        """Return a page of `rows`, newest first by `order`, and the cursor of the next."""
        if "cursor" in self.filters:
            rows = rows.filter(**{f"{order}__lt": self.filters["cursor"]})
        limit = self.filters["limit"]
        found: Sequence[Model] = list(rows.order_by(f"-{order}")[: limit + 1])
        shown_rows, more = found[:limit], len(found) > limit
        following = str(getattr(shown_rows[-1], order)) if more else None
        return Response({"results": serializer(shown_rows, many=True).data, "next": following})

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Keep every answer out of caches: each is for one person, and some show a secret once."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"] = "no-store"
        return answer

    def _fields(self, fields: type[Fields], data: Any) -> dict[str, Any]:
        checked = fields(data=data)
        checked.is_valid(raise_exception=True)
        return dict(checked.validated_data)

    def _query(self, request: Request) -> dict[str, str]:
        given: Iterable[tuple[str, list[Any]]] = request.query_params.lists()
        plain: dict[str, str] = {}
        for name, values in given:
            require_text(shown(name), values)
            if len(values) > 1:
                raise BadInput(f"“{shown(name)}” is given twice.", code="invalid")
            plain[name] = values[0]
        return plain
