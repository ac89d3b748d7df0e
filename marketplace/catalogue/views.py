"""The catalogue's API: public reads."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from marketplace.catalogue.models import GpuModel
from marketplace.catalogue.selectors import listed_models, model_by_slug, slugs_for
from marketplace.catalogue.serializers import GpuModelListShape, GpuModelQuery, GpuModelShape
from marketplace.common.api import page, parse_query

CONDITIONS = {
    "vendor": "vendor__iexact",
    "architecture": "architecture__iexact",
    "form_factor": "form_factor__iexact",
    "memory_mib__gte": "memory_mib__gte",
}


class GpuModelListView(APIView):
    """The models that the facts files list."""

    permission_classes = [AllowAny]

    @extend_schema(parameters=[GpuModelQuery], responses=GpuModelListShape, operation_id="gpu_models_list")
    def get(self, request: Request) -> Response:
        query = parse_query(GpuModelQuery, request)
        return page(listed_models(_conditions(query)), query, _show, newest_first=False)


class GpuModelView(APIView):
    """One model by its slug; also one that only a host has named."""

    permission_classes = [AllowAny]

    @extend_schema(responses=GpuModelShape, operation_id="gpu_models_retrieve")
    def get(self, request: Request, slug: str) -> Response:
        return Response(_show(model_by_slug(slug)))


def _conditions(query: dict[str, Any]) -> dict[str, Any]:
    conditions = {condition: query[name] for name, condition in CONDITIONS.items() if name in query}
    if "q" in query:
        conditions["slug__in"] = slugs_for(query["q"])
    return conditions


def _show(model: GpuModel) -> dict[str, Any]:
    return dict(GpuModelShape(model).data)
