from django.apps import AppConfig


class SalesConfig(AppConfig):
    name = "marketplace.sales"
    label = "sales"
