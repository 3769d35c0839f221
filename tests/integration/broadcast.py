"""The tests' app with a broadcast queue, and with a topic exchange that two queues are bound to."""

from __future__ import annotations

import json
import os

from kombu import Exchange, Queue
from kombu.common import Broadcast

from tests.integration.app import CONF_VARIABLE, create_app

app = None
if CONF_VARIABLE in os.environ:
    conf = json.loads(os.environ[CONF_VARIABLE])
    topics = Exchange("topics", type="topic")
    queues = [
        Queue("celery", Exchange("celery"), routing_key="celery"),
        Queue("mails", topics, routing_key="mail.*"),
        Queue("everything", topics, routing_key="#"),
        Broadcast("everyone"),
    ]
    app = create_app({**conf, "task_queues": queues})
