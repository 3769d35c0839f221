"""Settings of the shop. What celery-breaker needs is the last section; the rest is plain Django and Celery."""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SHOP_SECRET_KEY", "an example only: choose your own")
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = ["django_celery_results", "orders"]

# The module of each app that holds its tasks. `shop.settings_naive` names another one, to compare.
SHOP_TASKS = "tasks"

# --- Database -------------------------------------------------------------------------------------------------------
# Two workers write to one SQLite file. WAL lets readers pass a writer, IMMEDIATE takes the write lock at the start of a
# transaction rather than in its middle (where SQLite would refuse to wait), and `timeout` is how long a writer queues.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", str(BASE_DIR / "shop.sqlite3")),
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}

# --- The two services that can be down ------------------------------------------------------------------------------
# Always give a timeout: a service that accepts and never answers would keep a worker's slot for ever.
EMAIL_HOST = os.environ.get("SHOP_SMTP_HOST", "127.0.0.1")
EMAIL_PORT = int(os.environ.get("SHOP_SMTP_PORT", "1025"))
EMAIL_TIMEOUT = 5
PAYMENT_URL = os.environ.get("SHOP_PAYMENT_URL", "http://127.0.0.1:8025/charges")
PAYMENT_TIMEOUT = 5

# --- Celery ---------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = os.environ.get("SHOP_BROKER_URL", "redis://127.0.0.1:6379/0")
CELERY_RESULT_BACKEND = "django-db"
CELERY_RESULT_EXTENDED = True
CELERY_TASK_TIME_LIMIT = 30

# --- celery-breaker -------------------------------------------------------------------------------------------------
# One breaker for each service. Their shared state lives in the broker's Redis, since that is the first Redis found;
# CELERY_BREAKER_STORE = "redis://…" would put it elsewhere. While a breaker is open its tasks wait in a queue of the
# broker, `celery_breaker.parked.smtp`, and spend none of their retries.
CELERY_BREAKERS: dict[str, dict[str, Any]] = {
    "smtp": {
        # Trip when 5 calls of the last 10 seconds have failed, and they were at least half of the calls made…
        "max_failures": 5,
        "failure_rate": 0.5,
        "failure_window": 10,
        # …or on 5 failures in a row: a dead mail server need not wait for the good calls to leave the window.
        "consecutive_failures": 5,
        # Try one mail after 3 seconds, then after 6 (doubling is the default), and never wait longer than that.
        # A minute's demo wants it quick: 30 and 900 are the defaults, and good ones.
        "recovery_timeout": float(os.environ.get("SHOP_RECOVERY_TIMEOUT", "3")),
        "max_recovery_timeout": float(os.environ.get("SHOP_MAX_RECOVERY_TIMEOUT", "6")),
    },
    "payments": {
        "max_failures": 5,
        "recovery_timeout": 10,
        # A declined card is the customer's trouble, not the payment service's.
        "ignore": ["orders.gateways.CardDeclinedError"],
    },
}

# How often (seconds) beat, or a worker if there is no beat, looks after breakers that are open.
CELERY_BREAKER_TEND_INTERVAL = float(os.environ.get("SHOP_TEND_INTERVAL", "5"))

# --- Logging --------------------------------------------------------------------------------------------------------
# `orders.calls` logs each call to an outside service just before it is made. Name a file to keep a record of them.
_CALL_LOG = os.environ.get("SHOP_CALL_LOG")
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"call": {"format": "%(created).6f %(message)s"}},
    "handlers": {
        "calls": {"class": "logging.FileHandler", "filename": _CALL_LOG, "formatter": "call", "delay": True}
        if _CALL_LOG
        else {"class": "logging.NullHandler"}
    },
    "loggers": {"orders.calls": {"handlers": ["calls"], "level": "INFO", "propagate": False}},
}
