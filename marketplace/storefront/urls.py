"""The pages' addresses."""

from django.urls import path

from marketplace.storefront.views import (
    accounts,
    enrolment,
    fleet,
    leases,
    listings,
    offers,
    operator,
    orders,
    style,
    wallet,
)

app_name = "storefront"
urlpatterns = [
    path("", offers.home, name="home"),
    path("offers/", offers.offers_page, name="offers"),
    path("licences/", offers.licences, name="licences"),
    path("style/", style.style_page, name="style"),
    path("theme/", accounts.theme, name="theme"),
    path("sign-in/", accounts.sign_in_page, name="sign-in"),
    path("sign-up/", accounts.sign_up_page, name="sign-up"),
    path("sign-out/", accounts.sign_out, name="sign-out"),
    path("account/firm/", accounts.switch_firm, name="switch-firm"),
    path("account/members/", accounts.members_page, name="members"),
    path("account/members/<str:user_id>/remove/", accounts.member_remove, name="member-remove"),
    path("account/keys/", accounts.keys_page, name="keys"),
    path("account/keys/<str:key_id>/revoke/", accounts.key_revoke, name="key-revoke"),
    path("buy/orders/", orders.orders_page, name="orders"),
    path("buy/orders/new/", orders.order_new, name="order-new"),
    path("buy/orders/standing/", orders.standing_order, name="standing-order"),
    path("buy/orders/<str:order_id>/", orders.order_page, name="order"),
    path("buy/orders/<str:order_id>/cancel/", orders.order_cancel, name="order-cancel"),
    path("leases/", leases.leases_page, name="leases"),
    path("leases/<str:lease_id>/", leases.lease_page, name="lease"),
    path("leases/<str:lease_id>/telemetry.json", leases.lease_telemetry_json, name="lease-telemetry"),
    path("leases/<str:lease_id>/end/", leases.lease_end, name="lease-end"),
    path("sell/fleet/", fleet.fleet_page, name="fleet"),
    path("sell/fleet/enrol/", enrolment.enrol_page, name="enrol"),
    path("sell/fleet/tokens/<str:token_id>/revoke/", enrolment.token_revoke, name="token-revoke"),
    path("sell/listings/", listings.listings_page, name="listings"),
    path("sell/listings/new/", listings.listing_new, name="listing-new"),
    path("sell/listings/<str:listing_id>/<str:action>/", listings.listing_act, name="listing-act"),
    path("wallet/", wallet.wallet_page, name="wallet"),
    path("wallet/statement/", wallet.statement_page, name="statement"),
    path("wallet/deposits/<str:deposit_id>/", wallet.deposit_page, name="deposit"),
    path("wallet/deposits/<str:deposit_id>/cancel/", wallet.deposit_cancel, name="deposit-cancel"),
    path("operator/", operator.operator_home, name="operator"),
    path("operator/deposits/<str:deposit_id>/confirm/", operator.deposit_confirm, name="deposit-confirm"),
]
