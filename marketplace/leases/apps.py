from django.apps import AppConfig


class LeasesConfig(AppConfig):
    name = "marketplace.leases"
    label = "leases"
