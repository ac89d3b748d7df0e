"""Every setting in one file, read from the environment; a missing or malformed value stops the start with its name."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env(name: str, default: str | None = None) -> str:
    """A text variable; without a default it must be set."""
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(
            f"set {name}; `make demo` sets everything by itself, docs/operations.md lists the rest"
        )
    return value


def env_int(name: str, default: int) -> int:
    """A whole number."""
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {text!r}") from error


def env_bool(name: str, default: bool) -> bool:
    """`1`, `true`, `0` or `false`."""
    text = os.environ.get(name, str(default)).lower()
    if text not in {"1", "true", "0", "false"}:
        raise ImproperlyConfigured(f"{name} must be 1, true, 0 or false, not {text!r}")
    return text in {"1", "true"}


def env_per_currency(name: str, default: str) -> dict[str, str]:
    """`USD=…,EUR=…` as currency → value."""
    pairs = [pair.partition("=") for pair in env(name, default).split(",") if pair]
    if any(len(currency.strip()) != 3 or not value.strip() for currency, _, value in pairs):
        raise ImproperlyConfigured(f"{name} must look like USD=…,EUR=…")
    return {currency.strip(): value.strip() for currency, _, value in pairs}


def env_micros_per_currency(name: str, default: str) -> dict[str, int]:
    """`USD=500,EUR=500`, whole coins, as currency → micros."""
    try:
        return {currency: int(coins) * 1_000_000 for currency, coins in env_per_currency(name, default).items()}
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must give whole coins, like {default}") from error


def env_secret(name: str) -> str:
    """A secret of 64 hex digits; where it is not set, one is made at the first start and kept under .local/."""
    if name in os.environ:
        return os.environ[name]
    path = BASE_DIR / ".local" / name.lower()
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(path, "x", opener=_private) as file:
        file.write(secrets.token_hex(32))
    return path.read_text()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def database_from(url: str) -> dict[str, object]:
    """Django's settings for a postgresql:// URL; no other database is supported."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ImproperlyConfigured("DATABASE_URL must begin with postgresql://")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": env_int("CONN_MAX_AGE", 60),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"connect_timeout": 5, "application_name": "fallow"},
    }


DEBUG = env_bool("DEBUG", False)
SECRET_KEY = env_secret("SECRET_KEY")
ALLOWED_HOSTS = env("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in env("CSRF_TRUSTED_ORIGINS", "").split(",") if origin]
PUBLIC_URL = env("PUBLIC_URL", "http://127.0.0.1:8000").rstrip("/")

# The runtime role owns nothing and can't alter a table; `manage.py migrate` works as the owner.
DATABASES = {"default": database_from(env("DATABASE_URL"))}
DATABASES["owner"] = database_from(env("DATABASE_OWNER_URL", env("DATABASE_URL")))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
REDIS_URL = env("REDIS_URL", "redis://127.0.0.1:6379/0")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "marketplace.common",
    "marketplace.events",
    "marketplace.accounts",
    "marketplace.ledger",
    "marketplace.payments",
    "marketplace.catalogue",
    "nodes",
    "marketplace.compliance",
    "marketplace.book",
    "listings",
    "marketplace.orders",
    "marketplace.leases",
    "marketplace.sales",
    "marketplace.matching",
    "marketplace.settlement",
    "marketplace.books",
    "marketplace.fleet",
    "marketplace.storefront",
    "marketplace.demo",
]

MIDDLEWARE = [
    "marketplace.common.middleware.RequestIdMiddleware",
    "marketplace.common.middleware.RateHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "marketplace.common.middleware.ContentSecurityPolicyMiddleware",
    "marketplace.common.middleware.BodyLengthMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "marketplace.urls"
WSGI_APPLICATION = "marketplace.wsgi.application"
APPEND_SLASH = True
AUTH_USER_MODEL = "accounts.User"
CSRF_FAILURE_VIEW = "marketplace.storefront.views.errors.csrf_failed"
LOGIN_URL = "storefront:sign-in"
LOGIN_REDIRECT_URL = "storefront:home"
LOGOUT_REDIRECT_URL = "storefront:home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
# Sessions live in PostgreSQL: Redis may be flushed at any moment.
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_HTTPONLY = True
SECURE_COOKIES = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_COOKIES
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_COOKIES else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env_bool("BEHIND_PROXY", False) else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
MEDIA_ROOT = env("MEDIA_ROOT", str(BASE_DIR / ".local" / "media"))  # photos; served by our own views
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024  # a body, or what a form has beside its files
UPLOAD_BYTES_MAX = 16 * 1024 * 1024  # a form with its files; a photo of half of that is refused in words

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "marketplace.storefront.context.storefront",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS: list[Path] = []
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "marketplace.accounts.authentication.ApiKeyAuthentication",
        "marketplace.accounts.authentication.FirmSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["marketplace.accounts.authentication.HasFirm"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["marketplace.common.parsers.StrictJSONParser"],
    "EXCEPTION_HANDLER": "marketplace.common.api.problem_handler",
    "DEFAULT_SCHEMA_CLASS": "marketplace.common.openapi.FallowSchema",
    "DEFAULT_THROTTLE_CLASSES": ["marketplace.common.rate.TokenBucket"],
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "DATETIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%fZ",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Fallow",
    "DESCRIPTION": "An open exchange for idle GPUs.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "ENUM_NAME_OVERRIDES": {
        "ListingStateEnum": "listings.states.ListingState",
        "OrderStateEnum": "marketplace.orders.states.OrderState",  # a card bid's are the same
        "SaleStateEnum": "marketplace.sales.states.SaleState",
        "FunctionGradeEnum": "listings.cards.states.FunctionGrade",
        "PhotoKindEnum": "listings.cards.states.PhotoKind",
        "TransferStateEnum": "marketplace.payments.states.TransferState",
        "TopUpStateEnum": "marketplace.payments.states.TopUpState",
        "PaymentDisputeStateEnum": "marketplace.payments.states.PaymentDisputeState",
        "PurchaseStateEnum": "marketplace.sales.states.PurchaseState",
        "SellerAccountStateEnum": "marketplace.payments.states.SellerAccountState",
        "MarketKindEnum": [("capacity", "capacity"), ("card", "card")],
        "ComplianceOutcomeEnum": [(each, each) for each in ("allow", "hold", "block")],
    },
}

# Nothing of value waits in Redis: tasks are wake-ups, rows are the queue.
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_TIME_LIMIT = 120
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300, "unacked_restore_interval": 1}
CELERY_TIMEZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("LOG_LEVEL", "INFO")},
    "loggers": {"stripe": {"level": "WARNING"}},  # it tells of every request
}

# The market's numbers, in seconds unless the name says otherwise.
HEARTBEAT_SECONDS = env_int("HEARTBEAT_SECONDS", 5)
STALE_SECONDS = env_int("STALE_SECONDS", 15)
LOST_SECONDS = env_int("LOST_SECONDS", 30)
LEASE_GRACE_SECONDS = env_int("LEASE_GRACE_SECONDS", 300)
IDLE_AFTER_SECONDS = env_int("IDLE_AFTER_SECONDS", 300)
START_DEADLINE_SECONDS = env_int("START_DEADLINE_SECONDS", 600)
SETTLE_SECONDS = env_int("SETTLE_SECONDS", 60)
TURNAROUND_SECONDS = env_int("TURNAROUND_SECONDS", 120)
PROVING_LEASE_SECONDS = env_int("PROVING_LEASE_SECONDS", 60)  # a new node earns after one of the platform's; 0: at once
PROVING_IMAGE = env("PROVING_IMAGE", "docker.io/library/debian:12-slim")
LEASE_TTL_SECONDS = env_int("LEASE_TTL_SECONDS", 600)
STOP_GRACE_SECONDS = env_int("STOP_GRACE_SECONDS", 30)
MATCH_INTERVAL_MS = env_int("MATCH_INTERVAL_MS", 250)
GTC_SECONDS = env_int("GTC_SECONDS", 7 * 24 * 3600)
QUOTE_SECONDS = env_int("QUOTE_SECONDS", 60)
LEASE_SECONDS_MIN = env_int("LEASE_SECONDS_MIN", 60)
LEASE_SECONDS_MAX = env_int("LEASE_SECONDS_MAX", 90 * 24 * 3600)
INGEST_WAITING_REPORTS_MAX = env_int("INGEST_WAITING_REPORTS_MAX", 20_000)
IDEMPOTENCY_DAYS_KEPT = env_int("IDEMPOTENCY_DAYS_KEPT", 30)
REPORT_DAYS_KEPT = env_int("REPORT_DAYS_KEPT", 14)
OPEN_ORDERS_MAX = env_int("OPEN_ORDERS_MAX", 500)  # per firm
OPEN_LISTINGS_MAX = env_int("OPEN_LISTINGS_MAX", 500)  # per firm
CARD_HOUR_DAYS_KEPT = env_int("CARD_HOUR_DAYS_KEPT", 100)
PLATFORM_FEE_BASIS_POINTS = env_int("PLATFORM_FEE_BASIS_POINTS", 500)
CARD_FEE_BASIS_POINTS = env_int("CARD_FEE_BASIS_POINTS", 500)  # of a card's price, out of the seller's share
TAX_STEP = env("TAX_STEP", "")  # `package.module:name` of a TaxStep (marketplace/ledger/tax.py); empty: no tax
PLATFORM_NAME = env("PLATFORM_NAME", "Fallow")  # who issues the fee invoices
PLATFORM_COUNTRY = env("PLATFORM_COUNTRY", "")  # ISO 3166-1 alpha-2 of where it sits; without it none is issued
CARD_CREDIT_BASIS_POINTS = env_int("CARD_CREDIT_BASIS_POINTS", 1500)  # owed by a seller who does not ship
CARD_CREDIT_MICROS_MIN = env_int("CARD_CREDIT_MICROS_MIN", 15_000_000)
CARD_BID_DAYS_MAX = env_int("CARD_BID_DAYS_MAX", 30)
CARD_SHIPS_WITHIN_DAYS = env_int("CARD_SHIPS_WITHIN_DAYS", 30)  # a card leased for longer than this can't be bought yet
COMPLIANCE_RULES_FILE = env("COMPLIANCE_RULES_FILE", "")  # empty: the table that ships
SCREENING_LIST_DAYS_MAX = env_int("SCREENING_LIST_DAYS_MAX", 7)  # an older screening list holds sales
SCREENING_SCORE_MIN = env_int("SCREENING_SCORE_MIN", 88)  # how similar (0 to 100) a name is that a person compares
API_BURST = env_int("API_BURST", 1000)  # requests that one firm may send at once
API_PER_SECOND = env_int("API_PER_SECOND", 100)
ENROL_BURST = env_int("ENROL_BURST", 100)  # enrolments that one address may send at once
ENROL_PER_SECOND = env_int("ENROL_PER_SECOND", 1)
PASSWORD_TRIES_PER_HOUR = env_int("PASSWORD_TRIES_PER_HOUR", 10)  # wrong ones for one person
ADDRESS_TRIES_PER_HOUR = env_int("ADDRESS_TRIES_PER_HOUR", 100)  # wrong ones from one address, for whomever
if min(PASSWORD_TRIES_PER_HOUR, ADDRESS_TRIES_PER_HOUR) < 1:
    raise ImproperlyConfigured("PASSWORD_TRIES_PER_HOUR and ADDRESS_TRIES_PER_HOUR must be at least 1")
CURRENCIES = env("CURRENCIES", "USD,EUR,CNY").split(",")

# The operator's bank account for wires; what is empty is not shown.
WIRE_ACCOUNT_HOLDER = env("WIRE_ACCOUNT_HOLDER", "")
WIRE_IBAN = env("WIRE_IBAN", "")
WIRE_BIC = env("WIRE_BIC", "")
WIRE_ACCOUNTS = env_per_currency("WIRE_ACCOUNTS", "")  # `EUR=DE…,USD=US…`: where it is another than WIRE_IBAN
WIRE_CSV_COLUMNS = env("WIRE_CSV_COLUMNS", "")  # `account=IBAN;date=Booked on`: how the bank names its columns
WIRE_CSV_DECIMAL = env("WIRE_CSV_DECIMAL", ".")
WIRE_CSV_DATE = env("WIRE_CSV_DATE", "%Y-%m-%d")
# What an operator books or pays out above it needs a second one. Without a line: always.
TWO_PERSON_LIMITS = env_micros_per_currency("TWO_PERSON_LIMITS", "USD=10000,EUR=10000,CNY=70000")
DEPOSIT_DAYS = env_int("DEPOSIT_DAYS", 30)

# Stripe; without a key there is none. STRIPE_API_URL is for the simulator, which takes no live key.
STRIPE_SECRET_KEY = env("STRIPE_SECRET_KEY", "")
STRIPE_API_URL = env("STRIPE_API_URL", "")
if STRIPE_API_URL and not STRIPE_SECRET_KEY.startswith("sk_test_"):
    raise ImproperlyConfigured("STRIPE_API_URL is for tests: STRIPE_SECRET_KEY must begin with sk_test_")
STRIPE_WEBHOOK_SECRETS = [
    each for each in env("STRIPE_WEBHOOK_SECRETS", "").split(",") if each
]  # several while rotating
STRIPE_WEBHOOK_TOLERANCE_SECONDS = env_int("STRIPE_WEBHOOK_TOLERANCE_SECONDS", 300)
TRANSFER_MICROS_MIN = env_int("TRANSFER_MICROS_MIN", 10_000_000)  # of the currency; less waits for more
TOP_UPS_PER_DAY_MAX = env_int("TOP_UPS_PER_DAY_MAX", 5)  # automatic ones of one wallet; then its owner is asked
STRIPE_ACCOUNTS_VERSION = env_int("STRIPE_ACCOUNTS_VERSION", 2)  # of the API for sellers' accounts; 1 or 2
STRIPE_SELLER_COUNTRIES = env(  # where Stripe opens accounts for sellers: https://stripe.com/global
    "STRIPE_SELLER_COUNTRIES",
    "AE,AT,AU,BE,BG,BR,CA,CH,CY,CZ,DE,DK,EE,ES,FI,FR,GB,GI,GR,HK,HR,HU,IE,IT,JP,LI,LT,LU,LV,MT,MX,MY,NL,NO,NZ,PL,PT,"
    "RO,SE,SG,SI,SK,TH,US",
).split(",")
STRIPE_CURRENCIES = [each for each in env("STRIPE_CURRENCIES", "USD,EUR").split(",") if each in CURRENCIES]

# Payouts.
PAYOUT_MINIMUMS = env_micros_per_currency("PAYOUT_MINIMUMS", "USD=20,EUR=20,CNY=150")
EARNINGS_CLEAR_DAYS = env_int("EARNINGS_CLEAR_DAYS", 7)  # buyers may object as long: younger earnings do not leave
PAYOUT_NEW_SELLER_DAYS = env_int("PAYOUT_NEW_SELLER_DAYS", 90)  # since the first earnings
PAYOUT_RESERVE_BASIS_POINTS = env_int("PAYOUT_RESERVE_BASIS_POINTS", 1000)  # of a new seller's earnings is held
PAYOUT_RESERVE_DAYS = env_int("PAYOUT_RESERVE_DAYS", 30)
PAYOUT_WEEKDAY = env_int("PAYOUT_WEEKDAY", 0)  # Monday is 0; -1: no automatic payouts
# Deposits by card of a firm none of whose card deposits is CARD_SEASON_DAYS old; without a line: none.
CARD_FIRST_LIMITS = env_micros_per_currency("CARD_FIRST_LIMITS", "USD=500,EUR=500")
CARD_DAY_LIMITS = env_micros_per_currency("CARD_DAY_LIMITS", "USD=1000,EUR=1000")
CARD_WEEK_LIMITS = env_micros_per_currency("CARD_WEEK_LIMITS", "USD=2500,EUR=2500")
CARD_DEPOSITS_PER_DAY_MAX = env_int("CARD_DEPOSITS_PER_DAY_MAX", 5)
CARDS_PER_WEEK_MAX = env_int("CARDS_PER_WEEK_MAX", 3)  # different ones of one firm, new or not
THREE_D_SECURE = env("THREE_D_SECURE", "any")  # what is asked for of new firms, and from THREE_D_SECURE_FROM on
if THREE_D_SECURE not in {"automatic", "any", "challenge"}:
    raise ImproperlyConfigured(f"THREE_D_SECURE must be automatic, any or challenge, not {THREE_D_SECURE!r}")
THREE_D_SECURE_FROM = env_micros_per_currency("THREE_D_SECURE_FROM", "USD=1000,EUR=1000")  # without a line: always
DISPUTE_RESERVE_BASIS_POINTS = env_int("DISPUTE_RESERVE_BASIS_POINTS", 1000)  # of the platform's fees
# What a younger card deposit paid for does not leave: docs/payments.md.
CARD_SEASON_DAYS = env_int("CARD_SEASON_DAYS", 30)
BANK_DETAILS_HOLD_HOURS = env_int("BANK_DETAILS_HOLD_HOURS", 72)
BANK_DETAILS_KEY = env_secret("BANK_DETAILS_KEY")  # seals the numbers of firms' accounts; in no table

# The command key signs what nodes may run. It is no column of any table: a stolen database can't start a container.
COMMAND_KEY = env_secret("COMMAND_KEY")  # the seed of an Ed25519 key, in hex
# The passport key countersigns what cards measured; its public half is published. It is in no table either.
PASSPORT_KEY = env_secret("PASSPORT_KEY")
PASSPORT_DAYS = env_int("PASSPORT_DAYS", 14)
PASSPORT_CHALLENGE_SECONDS = env_int("PASSPORT_CHALLENGE_SECONDS", 1800)  # the tests take twenty minutes
PASSPORT_LABS = env("PASSPORT_LABS", "marketplace.sales.selectors:is_lab")  # `path:function` of a firm
SIMULATED_CARDS_COUNT = env_bool("SIMULATED_CARDS_COUNT", False)  # in demonstrations alone: a simulator is no card
REPORTS_URL = env("REPORTS_URL", PUBLIC_URL)
RELAY_HOST = env("RELAY_HOST", "127.0.0.1")
RELAY_PROBE_HOST = env("RELAY_PROBE_HOST", RELAY_HOST)  # where the worker itself reaches the relay
RELAY_PORT = env_int("RELAY_PORT", 2222)
RELAY_BIND = env("RELAY_BIND", "127.0.0.1")  # where the relay listens for nodes and buyers
RELAY_PORTS = env("RELAY_PORTS", "20000-29999")
RELAY_CONNECTIONS_PER_ADDRESS = env_int("RELAY_CONNECTIONS_PER_ADDRESS", 256)  # of buyers, over all leases
RELAY_LOGINS_PER_ADDRESS = env_int("RELAY_LOGINS_PER_ADDRESS", 16)  # of nodes that have not logged in yet
RELAY_HOST_KEY_FILE = env("RELAY_HOST_KEY_FILE", str(BASE_DIR / ".local" / "relay_host_key"))
DEMO = env_bool("FALLOW_DEMO", False)
