"""Addresses of the agent's protocol."""

from __future__ import annotations

from django.urls import path

from nodes.agent.passport import CHALLENGES_PATH, PASSPORTS_PATH
from nodes.agent.protocol import ACKS_PATH, ENROL_PATH, INVENTORY_PATH, LOGS_PATH
from nodes.views.agent import AcksView, EnrolView, InventoryView, LogView
from nodes.views.passports import PassportChallengeView, PassportPostView

urlpatterns = [
    path(ENROL_PATH.removeprefix("/"), EnrolView.as_view()),
    path(INVENTORY_PATH.removeprefix("/"), InventoryView.as_view()),
    path(ACKS_PATH.removeprefix("/"), AcksView.as_view()),
    path(LOGS_PATH.removeprefix("/"), LogView.as_view()),
    path(CHALLENGES_PATH.removeprefix("/"), PassportChallengeView.as_view()),
    path(PASSPORTS_PATH.removeprefix("/"), PassportPostView.as_view()),
]
