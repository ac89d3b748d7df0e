from django.urls import path

from marketplace.sales.purchase_views import BuyByCardView, CardPurchasesView, CardPurchaseView
from marketplace.sales.views import (
    AcceptSaleView,
    AnswerAddressView,
    BuyCardView,
    CancelCardBidView,
    CardBidsView,
    CardBidView,
    CardDepthView,
    DisputeSaleView,
    EvidenceView,
    QuestionAddressView,
    QuoteCardView,
    ReceiveSaleView,
    ResolveSaleView,
    SalesView,
    SaleView,
    ShipSaleView,
)

urlpatterns = [
    path("market/<slug:gpu>/depth/", CardDepthView.as_view()),
    path("card-listings/<str:listing_id>/quote/", QuoteCardView.as_view()),
    path("card-listings/<str:listing_id>/buy/", BuyCardView.as_view()),
    path("card-listings/<str:listing_id>/buy-by-card/", BuyByCardView.as_view()),
    path("card-purchases/", CardPurchasesView.as_view()),
    path("card-purchases/<str:purchase_id>/", CardPurchaseView.as_view()),
    path("card-bids/", CardBidsView.as_view()),
    path("card-bids/<str:bid_id>/", CardBidView.as_view()),
    path("card-bids/<str:bid_id>/cancel/", CancelCardBidView.as_view()),
    path("sales/", SalesView.as_view()),
    path("sales/<str:sale_id>/", SaleView.as_view()),
    path("sales/<str:sale_id>/ship/", ShipSaleView.as_view()),
    path("sales/<str:sale_id>/question-address/", QuestionAddressView.as_view()),
    path("sales/<str:sale_id>/address/", AnswerAddressView.as_view()),
    path("sales/<str:sale_id>/receive/", ReceiveSaleView.as_view()),
    path("sales/<str:sale_id>/accept/", AcceptSaleView.as_view()),
    path("sales/<str:sale_id>/dispute/", DisputeSaleView.as_view()),
    path("sales/<str:sale_id>/evidence/", EvidenceView.as_view()),
    path("sales/<str:sale_id>/resolve/", ResolveSaleView.as_view()),
]
