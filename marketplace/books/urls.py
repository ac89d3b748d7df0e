"""Addresses of the books, below /api/v1/."""

from django.urls import path

from marketplace.books import views

urlpatterns = [
    path("books/statement/", views.BooksStatementView.as_view(), name="books-statement"),
    path("books/export/", views.ExportView.as_view(), name="books-export"),
    path("books/trial-balance/", views.TrialBalanceView.as_view(), name="books-trial-balance"),
    path("documents/", views.DocumentsView.as_view(), name="documents"),
    path("documents/<str:document_id>/", views.DocumentView.as_view(), name="document"),
    path("documents/<str:document_id>/credit/", views.CreditView.as_view(), name="document-credit"),
]
