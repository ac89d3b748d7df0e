from django.apps import AppConfig


class BookConfig(AppConfig):
    name = "marketplace.book"
    label = "book"
