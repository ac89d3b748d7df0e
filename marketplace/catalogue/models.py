"""The models of GPU that there are. Rows come from the facts files; a card that no row fits makes an unlisted one."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class GpuModel(models.Model):
    """One factory variant, or an unlisted model that some host reported. Empty where nobody has said it."""

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=120)  # as NVML says it
    marketing_name = models.CharField(max_length=120)
    vendor = models.CharField(max_length=16)
    architecture = models.CharField(max_length=32, blank=True)
    compute_capability = models.CharField(max_length=8, blank=True)
    pci_device_ids = ArrayField(models.CharField(max_length=9), default=list)
    form_factor = models.CharField(max_length=16, blank=True)
    memory_mib = models.PositiveIntegerField(null=True)  # the usual of the factory sizes
    memory_sizes_mib = ArrayField(models.PositiveIntegerField(), default=list)
    nvml_totals_mib = ArrayField(models.PositiveIntegerField(), default=list)
    memory_type = models.CharField(max_length=16, blank=True)
    memory_bandwidth_gb_s = models.PositiveIntegerField(null=True)
    tdp_w = models.PositiveIntegerField(null=True)
    fp16_dense_tflops = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    fp8_dense_tflops = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    int8_dense_tops = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    fp4_dense_tflops = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    tpp = models.PositiveIntegerField(null=True)
    performance_density = models.DecimalField(max_digits=9, decimal_places=3, null=True)
    designed_for_datacentre = models.BooleanField(null=True)
    mig_capable = models.BooleanField(null=True)
    release_year = models.PositiveSmallIntegerField(null=True)
    is_listed = models.BooleanField(default=True)
    source = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.marketing_name


class GpuAlias(models.Model):
    """Another name of a model. One alias may stand for several models; the first leads.

    `key` is the alias without case and punctuation, by which it is looked up.
    """

    alias = models.CharField(max_length=120)
    key = models.CharField(max_length=120, db_index=True)
    model = models.ForeignKey(GpuModel, on_delete=models.CASCADE, related_name="aliases")
    kind = models.CharField(max_length=8)  # own, nvml, cluster or buyer
    rank = models.PositiveSmallIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(name="alias_names_a_model_once", fields=["alias", "model", "kind"])]
