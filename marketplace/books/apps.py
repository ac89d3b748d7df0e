from django.apps import AppConfig
from django.core.checks import register

from marketplace.books.checks import check_issuer


class BooksConfig(AppConfig):
    name = "marketplace.books"
    label = "books"

    def ready(self) -> None:
        register(check_issuer)
