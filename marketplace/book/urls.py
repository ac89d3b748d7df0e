from django.urls import path

from marketplace.book.views import TradesView

urlpatterns = [path("market/<slug:gpu>/trades/", TradesView.as_view())]
