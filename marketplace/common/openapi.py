"""The API's own description: problem+json and the Bearer key on every operation."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    type=str,
    location=OpenApiParameter.HEADER,
    required=True,
    description="A fresh text for each new request; the same text with the same body acts once, within 30 days.",
)


class ProblemErrorShape(serializers.Serializer[Any]):
    """One wrong value."""

    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ProblemShape(serializers.Serializer[Any]):
    """RFC 9457: every refusal has this body."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = ProblemErrorShape(many=True)  # type: ignore[assignment]
    request_id = serializers.CharField()


class FallowSchema(AutoSchema):
    """Adds the refusal to every operation, and calls a shape by what it is the shape of."""

    def _get_serializer_name(self, *arguments: Any, **options: Any) -> str:
        name: str = super()._get_serializer_name(*arguments, **options)
        return name.replace("Shape", "")

    def get_operation(self, *arguments: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*arguments, **options)
        if operation is not None:
            operation["responses"]["default"] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                ProblemShape(), "default", media_types=["application/problem+json"]
            )
        return operation


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """`Authorization: Bearer fal_live_…`."""

    target_class = "marketplace.accounts.authentication.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "fal_live_…"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The cookie of a signed-in person."""

    target_class = "marketplace.accounts.authentication.FirmSessionAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
