"""What every API view shares: problem+json, cursor lists, money and the strict reading of a request."""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import PermissionDenied
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, models
from django.http import Http404, HttpRequest
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from marketplace.common.errors import (
    Conflict,
    DomainError,
    FieldError,
    Invalid,
    NotAllowed,
    NotFound,
    TooMany,
    Unauthorised,
    Unavailable,
)
from marketplace.common.money import Money, format_micros, parse_micros

log = logging.getLogger(__name__)
Row = TypeVar("Row", bound=models.Model)
Item = TypeVar("Item")

PAGE_LIMIT_DEFAULT = 50
PAGE_LIMIT_MAX = 200
BASIS_POINTS = 10_000


def problem(error: DomainError, request_id: str) -> dict[str, Any]:
    """The body of an RFC 9457 problem."""
    return {
        "type": f"https://fallow.example/problems/{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "errors": [{"pointer": each.pointer, "code": each.code, "detail": each.detail} for each in error.errors],
        "request_id": request_id,
    }


def problem_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal is problem+json with a stable code."""
    domain_error = _as_domain_error(error)
    if domain_error is None:
        return None
    request: HttpRequest = context["request"]
    response = Response(problem(domain_error, request.META.get("fallow.request_id", "")), status=domain_error.status)
    response.content_type = "application/problem+json"
    wait = getattr(error, "wait", None)
    if wait or domain_error.status == 503:
        response["Retry-After"] = str(math.ceil(wait or 5))
    if domain_error.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def _as_domain_error(error: Exception) -> DomainError | None:
    match error:
        case DomainError():
            return error
        case exceptions.ValidationError():
            return Invalid("some values are wrong", errors=tuple(_field_errors(error.detail, "")))
        case Http404():
            return NotFound()
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthorised(str(error.detail))
        case PermissionDenied() | exceptions.PermissionDenied():
            return NotAllowed(str(getattr(error, "detail", error)) or "this is not allowed")
        case exceptions.Throttled():
            return TooMany("too many requests: wait as long as Retry-After says")
        case exceptions.APIException():
            domain_error = DomainError(str(error.detail), code=str(error.default_code))
            domain_error.status, domain_error.title = error.status_code, str(error.default_detail)
            return domain_error
    return uncaught(error)


def uncaught(error: Exception) -> DomainError | None:
    """What a value does that got further than it should, and what the database says."""
    match error:
        case DataError():
            log.error("a value got as far as the database", exc_info=error)
            return Invalid("a value is too large or has a character that can't be stored")
        case IntegrityError():
            log.error("the database refused a change", exc_info=error)
            return Conflict("somebody changed this at the same moment: look at it again")
        case UnicodeEncodeError():
            log.error("a text got as far as where it is encoded", exc_info=error)
            return Invalid("a text has half of a character: a lone surrogate")
        case RecursionError():
            log.error("a value was nested too deeply", exc_info=error)
            return Invalid("a value is nested too deeply")
        case OperationalError() | InterfaceError():
            log.error("the database is away", exc_info=error)
            return Unavailable(
                "the database is away: send the same again, with its Idempotency-Key; nothing is done twice"
            )
    return None


def _field_errors(detail: Any, pointer: str) -> Iterable[FieldError]:
    if isinstance(detail, Mapping):
        for key, value in detail.items():
            yield from _field_errors(value, pointer if key == "non_field_errors" else f"{pointer}/{key}")
    elif isinstance(detail, list):
        for number, value in enumerate(detail):
            nested = isinstance(value, Mapping | list)
            yield from _field_errors(value, f"{pointer}/{number}" if nested else pointer)
    else:
        yield FieldError(pointer or "/", str(getattr(detail, "code", "invalid")), str(detail))


class StrictSerializer(serializers.Serializer[Any]):
    """A request's shape; a key that it does not name is an error, so that a typing mistake is not silently ignored."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({key: ["there is no such field"] for key in unknown}, code="unknown")
        return super().to_internal_value(data)


def parse(shape: type[serializers.Serializer[Any]], data: Any, **options: Any) -> dict[str, Any]:
    """The validated values of a request, or a 400 that names each wrong one."""
    serializer = shape(data=data, **options)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def parse_query(shape: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """The validated query parameters; an unknown one is a 400. A list field takes repeated parameters."""
    fields = shape().fields
    data = {
        name: request.query_params.getlist(name) if isinstance(fields.get(name), serializers.ListField) else value
        for name, value in request.query_params.items()
    }
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise Invalid(
            f"unknown filter: {', '.join(unknown)}",
            code="unknown_filter",
            errors=tuple(FieldError(f"?{name}", "unknown", "there is no such filter") for name in unknown),
        )
    return parse(shape, data)


@extend_schema_field({"type": "string", "pattern": r"^\d{1,12}(\.\d{1,6})?$", "example": "0.40"})
class MicrosField(serializers.Field[int, Any, str, int]):
    """A decimal string in the API, integer micros inside. `tick` asks for a multiple, `positive` for more than zero."""

    default_error_messages = {
        "text": 'give the amount as a decimal string, such as "0.40"',
        "positive": "the amount must be more than zero",
        "tick": "the amount must be a multiple of {tick}",
    }

    def __init__(self, *, positive: bool = True, tick_micros: int = 1, **options: Any) -> None:
        self.positive = positive
        self.tick_micros = tick_micros
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str):
            self.fail("text")
        try:
            micros = parse_micros(data)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error
        if self.positive and micros <= 0:
            self.fail("positive")
        if micros % self.tick_micros:
            self.fail("tick", tick=format_micros(self.tick_micros))
        return micros

    def to_representation(self, value: int) -> str:
        return format_micros(value)


@extend_schema_field({"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.0001, "example": 0.98})
class RatioField(serializers.DecimalField):
    """A share from 0 to 1 with at most four decimals in the API, integer basis points inside."""

    default_error_messages = {"range": "a share is between 0 and 1"}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_digits=5, decimal_places=4, **options)

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        share = super().to_internal_value(data)
        if not 0 <= share <= 1:
            self.fail("range")
        return int(share * BASIS_POINTS)


def ratio_json(basis_points: int | None) -> float | None:
    """A share from 0 to 1 as the API shows it; None stays None."""
    return None if basis_points is None else basis_points / BASIS_POINTS


def money_json(amount_micros: int | None, currency: str) -> dict[str, str] | None:
    """Money as the API shows it; None stays None."""
    return None if amount_micros is None else {"amount": format_micros(amount_micros), "currency": currency}


class MoneyShape(serializers.Serializer[Money]):
    """Money in an answer."""

    amount = serializers.CharField()
    currency = serializers.CharField()


class PageQuery(serializers.Serializer[Any]):
    """The parameters that every list takes."""

    limit = serializers.IntegerField(min_value=1, max_value=PAGE_LIMIT_MAX, default=PAGE_LIMIT_DEFAULT)
    cursor = serializers.CharField(required=False)


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some rows of a list, and where the next ones begin."""

    rows: list[Item]
    next_cursor: str | None


def take_page(rows: models.QuerySet[Row], query: Mapping[str, Any], *, newest_first: bool = True) -> Page[Row]:
    """The rows of one page in primary-key order, without COUNT or OFFSET."""
    if cursor := query.get("cursor"):
        key = decode_cursor(cursor)
        rows = rows.filter(pk__lt=key) if newest_first else rows.filter(pk__gt=key)
    limit = int(query["limit"])
    found = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    return Page(found[:limit], encode_cursor(found[limit - 1].pk) if len(found) > limit else None)


def take_sorted(
    found: Sequence[Item], query: Mapping[str, Any], place: Callable[[Item], list[str | int]]
) -> Page[Item]:
    """The items of one page of what was computed and sorted by `place`; its first value names the order."""
    left = list(found)
    if cursor := query.get("cursor"):
        last = _decoded(cursor)
        kinds = [type(value) for value in place(left[0])] if left else []
        if not isinstance(last, list) or (left and [type(value) for value in last] != kinds):
            raise Invalid("the cursor is not one of this list", code="bad_cursor")
        if left and last[0] != place(left[0])[0]:
            raise Invalid("the cursor is of another order", code="bad_cursor")
        left = [item for item in left if place(item) > last]
    limit = int(query["limit"])
    shown = left[:limit]
    return Page(shown, encode_cursor(place(shown[-1])) if len(left) > limit else None)


def paged(taken: Page[Item], show: Callable[[Item], Any]) -> Response:
    """The answer of a list."""
    return Response(
        {
            "data": [show(row) for row in taken.rows],
            "next_cursor": taken.next_cursor,
            "has_more": taken.next_cursor is not None,
        }
    )


def page(
    rows: models.QuerySet[Row], query: Mapping[str, Any], show: Callable[[Row], Any], *, newest_first: bool = True
) -> Response:
    """One page of a list, each row shown by itself."""
    return paged(take_page(rows, query, newest_first=newest_first), show)


def page_shape(name: str, shape: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """The documented shape of a list."""
    fields = {
        "data": shape(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
        "has_more": serializers.BooleanField(),
    }
    made: serializers.Serializer[Any] = inline_serializer(name, fields)
    return made


def encode_cursor(value: Any) -> str:
    """An opaque place in a list."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decode_cursor(text: str) -> int:
    """The place that `encode_cursor` wrote; Invalid for anything else."""
    value = _decoded(text)
    if type(value) is not int or not 0 <= value < 2**63:
        raise Invalid("the cursor is not one of ours", code="bad_cursor")
    return value


def _decoded(text: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError) as error:
        raise Invalid("the cursor is not one of ours", code="bad_cursor") from error
