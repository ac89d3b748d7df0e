"""The ingest as a textbook would write it: nested DRF serializers, the ORM, one row per card; for comparison only."""

from __future__ import annotations

import hashlib
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketplace.settings")

import django
from django.conf import settings

django.setup()

from django.core.wsgi import get_wsgi_application
from django.db import models, transaction
from django.urls import path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.views import APIView

from nodes.agent.protocol import CARD_FIELDS
from nodes.models import Assignment, Node, NodeReportState


class Sample(models.Model):
    """One card in one report."""

    node = models.ForeignKey(Node, on_delete=models.DO_NOTHING, db_constraint=False)
    run = models.BigIntegerField()
    seq = models.BigIntegerField()
    place = models.IntegerField()
    received_at = models.DateTimeField()

    class Meta:
        managed = False
        app_label = "nodes"
        db_table = "textbook_sample"


for _name in CARD_FIELDS:
    Sample.add_to_class(_name, models.FloatField(null=True))


CardSerializer = type(
    "CardSerializer",
    (serializers.Serializer,),
    {name: serializers.FloatField(allow_null=True) for name in CARD_FIELDS},
)


class ReportSerializer(serializers.Serializer):
    """One report."""

    run = serializers.IntegerField(min_value=0)
    seq = serializers.IntegerField(min_value=0)
    mono_ms = serializers.IntegerField(min_value=0)
    inventory = serializers.CharField(max_length=16)
    draining = serializers.BooleanField(default=False)
    cards = CardSerializer(many=True)


class ReportView(APIView):
    """POST one report."""

    authentication_classes = []
    permission_classes = []

    def post(self, request):
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        node = Node.objects.filter(bearer_hash=hashlib.sha256(bearer.encode()).digest()).first()
        if node is None:
            raise AuthenticationFailed
        serializer = ReportSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        report, now = serializer.validated_data, timezone.now()
        with transaction.atomic():
            Sample.objects.bulk_create(
                Sample(node=node, run=report["run"], seq=report["seq"], place=place, received_at=now, **card)
                for place, card in enumerate(report["cards"])
            )
            NodeReportState.objects.update_or_create(
                node=node,
                defaults={
                    "run": report["run"],
                    "seq": report["seq"],
                    "received_at": now,
                    "inventory_digest": report["inventory"],
                    "draining": report["draining"],
                },
            )
            commands = Assignment.objects.filter(node=node).exclude(wanted="stop", seen="exited")
            wanted = [{"payload": each.payload, "signature": each.signature} for each in commands]
        return Response({"draining": node.is_draining, "commands": wanted}, status=202)


urlpatterns = [path("reports", ReportView.as_view())]
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
application = get_wsgi_application()
