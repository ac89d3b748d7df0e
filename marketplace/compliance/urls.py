"""Addresses of the export rules, below /api/v1/."""

from __future__ import annotations

from django.urls import path

from marketplace.compliance import views

urlpatterns = [
    path("compliance-decisions/", views.DecisionsView.as_view()),
    path("compliance-decisions/<str:decision_id>/", views.DecisionView.as_view()),
    path("export-rules/", views.StateView.as_view()),
    path("export-rules/decisions/", views.RecordsView.as_view()),
    path("export-rules/decisions/<str:decision_id>/", views.RecordView.as_view()),
    path("export-rules/decisions/<str:decision_id>/rule/", views.RuleView.as_view()),
    path("export-rules/decisions/<str:decision_id>/documents/", views.DocumentsView.as_view()),
    path("export-rules/firms/<str:firm_id>/names/", views.NamesView.as_view()),
    path("export-rules/clearances/", views.ClearancesView.as_view()),
]
