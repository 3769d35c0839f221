"""The services that the shop calls, each run as ``python -m demo.servers smtp|payments --port N --journal FILE``.

The mail server really comes and goes: to take it down, the demo ends its process. Like any mail server that is stopped
in order, it closes its port at once, sees the mails in hand through, and exits.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from aiosmtpd.smtp import SMTP, Envelope, Session

MAIL_TAKES = 0.03
"""Seconds in which the mail server accepts a mail."""
_MESSAGE_ID = re.compile(rb"^Message-ID:\s*<order-(\d+)@", re.MULTILINE | re.IGNORECASE)


class Journal:
    """A file of JSON lines that outlives the server."""

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: str, **facts: object) -> None:
        """Add one line, on disk when this returns."""
        self._file.write(json.dumps({"at": time.time(), "event": event, **facts}) + "\n")
        self._file.flush()


class Mailbox:
    """Takes every mail, and notes its order number before it says so."""

    def __init__(self, journal: Journal) -> None:
        """Note into `journal`."""
        self._journal = journal

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept the mail (aiosmtpd's hook)."""
        await asyncio.sleep(MAIL_TAKES)
        content = envelope.content or b""
        found = _MESSAGE_ID.search(content if isinstance(content, bytes) else content.encode())
        if found is None:
            return "554 No Message-ID of the shop"
        self._journal.write("mail", order=int(found[1]))
        return "250 OK"


class Conversation(SMTP):
    """One connection, known to `open_now` while it lasts."""

    open_now: ClassVar[set[Conversation]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember it."""
        self.open_now.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self.open_now.discard(self)
        super().connection_lost(error)


async def serve_mail(port: int, journal: Journal) -> None:
    """Accept mail until SIGTERM; then close the port and finish the conversations in hand."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    mailbox = Mailbox(journal)
    server = await loop.create_server(
        lambda: Conversation(mailbox, hostname="mail.example", loop=loop), "127.0.0.1", port, backlog=512
    )
    journal.write("up")
    await stop.wait()
    server.close()
    journal.write("down")
    deadline = loop.time() + 2
    while Conversation.open_now and loop.time() < deadline:
        await asyncio.sleep(0.01)


class Payments(BaseHTTPRequestHandler):
    """Answers each charge with an id: the same one for the same idempotency key."""

    def do_POST(self) -> None:
        """Charge."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"id": f"ch_{self.headers.get('Idempotency-Key', '')}"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Run one of the two servers."""
    parser = argparse.ArgumentParser(description="A server of the demo.")
    parser.add_argument("kind", choices=["smtp", "payments"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    options = parser.parse_args()
    if options.kind == "smtp":
        asyncio.run(serve_mail(options.port, Journal(options.journal)))
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        ThreadingHTTPServer(("127.0.0.1", options.port), Payments).serve_forever()


if __name__ == "__main__":
    main()
