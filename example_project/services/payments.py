"""A payment service to try the shop with: takes every charge, one after the other, and forgets it.

Stop it to see an outage; start it again to see the recovery. It is no part of the shop.
"""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Payments(BaseHTTPRequestHandler):
    """Answers ``POST /charges`` with the id of the charge; one idempotency key, one id."""

    def do_POST(self) -> None:
        """A charge."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = json.dumps({"id": f"charge-{self.headers.get('Idempotency-Key', 'none')}"}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    address = os.environ.get("PAYMENTS_ADDRESS", "127.0.0.1"), int(os.environ.get("PAYMENTS_PORT", "8025"))
    ThreadingHTTPServer(address, Payments).serve_forever()
