"""Shapes of the catalogue's API."""

from __future__ import annotations

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from marketplace.catalogue.models import GpuModel
from marketplace.common.api import PageQuery


class GpuModelQuery(PageQuery):
    """Filters of the list; `q` is what a buyer would type."""

    q = serializers.CharField(required=False, max_length=120)
    vendor = serializers.CharField(required=False, max_length=16)
    architecture = serializers.CharField(required=False, max_length=32)
    form_factor = serializers.CharField(required=False, max_length=16)
    memory_mib__gte = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)


class GpuModelShape(serializers.ModelSerializer[GpuModel]):
    """A model. Decimal rates are strings of dense tera-operations per second."""

    id = serializers.CharField(source="slug")

    class Meta:
        model = GpuModel
        fields = (
            "id",
            "slug",
            "name",
            "marketing_name",
            "vendor",
            "architecture",
            "compute_capability",
            "pci_device_ids",
            "form_factor",
            "memory_mib",
            "memory_sizes_mib",
            "memory_type",
            "memory_bandwidth_gb_s",
            "tdp_w",
            "fp16_dense_tflops",
            "fp8_dense_tflops",
            "int8_dense_tops",
            "fp4_dense_tflops",
            "tpp",
            "performance_density",
            "designed_for_datacentre",
            "mig_capable",
            "release_year",
            "is_listed",
            "source",
        )


GpuModelListShape = inline_serializer(
    "GpuModelPage",
    {
        "data": GpuModelShape(many=True),
        "next_cursor": serializers.CharField(allow_null=True),
        "has_more": serializers.BooleanField(),
    },
)
