"""The app of docs/examples/sqs.py, told by a test where its servers are."""

from __future__ import annotations

import json
import os

from tests.examples import load

app = load("sqs").app
app.conf.update(json.loads(os.environ["CELERY_BREAKER_TESTS_CONF"]))
