from django.urls import path

from marketplace.orders.views import CancelOrderView, OrdersView, OrderView, PreviewOrderView

urlpatterns = [
    path("orders/", OrdersView.as_view()),
    path("orders/preview/", PreviewOrderView.as_view()),
    path("orders/<str:order_id>/", OrderView.as_view()),
    path("orders/<str:order_id>/cancel/", CancelOrderView.as_view()),
]
