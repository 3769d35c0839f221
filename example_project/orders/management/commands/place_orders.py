"""`manage.py place_orders`: customers for the shop, at a steady rate."""

from __future__ import annotations

import json
import random
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand

from orders.checkout import place_order

ITEMS = ["teapot", "lamp", "notebook", "scarf", "bicycle bell", "chess set", "umbrella", "kite"]


def arrivals(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Offsets (seconds) at which customers arrive: `rate` per second, each gap varied by up to half."""
    at = 0.0
    while (at := at + rng.uniform(0.5, 1.5) / rate) < seconds:
        yield at


class Command(BaseCommand):
    """Places orders at a steady rate and prints one line of JSON for each."""

    help = "Place orders at a steady rate; prints one line of JSON for each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Rate, duration, seed and start."""
        parser.add_argument("--rate", type=float, default=5.0, help="orders per second (5)")
        parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
        parser.add_argument("--seed", type=int, default=None, help="repeat the same customers")
        parser.add_argument("--start-at", type=float, default=None, help="Unix time of the start (now)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Place the orders, each at its time."""
        rng = random.Random(options["seed"])
        start = options["start_at"] or time.time()
        for number, offset in enumerate(arrivals(options["rate"], options["seconds"], rng), 1):
            item, cents = rng.choice(ITEMS), rng.randrange(500, 20_000)
            time.sleep(max(0.0, start + offset - time.time()))
            order = place_order(f"customer{number}@example.com", item, cents)
            self.stdout.write(json.dumps({"at": time.time(), "order": order.pk}))
            self.stdout.flush()
