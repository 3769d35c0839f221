"""Draws the diagrams of the site: `python docs/diagrams/draw.py` writes them beside itself. A test compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent

# A ground of its own, so that it can be read on any page; the reader's system says light or dark.
STYLE = """
  .ground { fill: #ffffff } .box { fill: #f3f4f6; stroke: #6b7280 }
  .closed { fill: #dcfce7; stroke: #15803d } .open { fill: #fee2e2; stroke: #b91c1c }
  .half { fill: #fef3c7; stroke: #b45309 } .queue { fill: #e0e7ff; stroke: #4338ca }
  .box, .closed, .open, .half, .queue { stroke-width: 1.5 }
  text { font: 14px system-ui, sans-serif; fill: #111827; text-anchor: middle }
  .small { font-size: 12px; fill: #4b5563 }
  .left { text-anchor: start } .bold { font-weight: 600 }
  .line { fill: none; stroke: #374151; stroke-width: 1.5; marker-end: url(#tip) } .dashed { stroke-dasharray: 5 4 }
  #tip path { fill: #374151 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #131416 } .box { fill: #26282d; stroke: #9ca3af }
    .closed { fill: #0f3a20; stroke: #4ade80 } .open { fill: #4c1414; stroke: #f87171 }
    .half { fill: #46330a; stroke: #fbbf24 } .queue { fill: #24235c; stroke: #a5b4fc }
    text { fill: #f3f4f6 } .small { fill: #c4c8cf } .line { stroke: #d1d5db } #tip path { fill: #d1d5db }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A box with lines of text, by its middle."""

    x: int
    y: int
    w: int
    h: int
    lines: tuple[str, ...]
    kind: str = "box"

    def svg(self) -> str:
        """As drawn: the first line bold, the others small."""
        left, top = self.x - self.w // 2, self.y - self.h // 2
        parts = [f'<rect class="{self.kind}" x="{left}" y="{top}" width="{self.w}" height="{self.h}" rx="8"/>']
        first = self.y + 5 - 9 * (len(self.lines) - 1)
        for number, line in enumerate(self.lines):
            kind = "bold" if number == 0 else "small"
            parts.append(f'<text class="{kind}" x="{self.x}" y="{first + 18 * number}">{escape(line)}</text>')
        return "".join(parts)


def line(path: str, *, dashed: bool = False) -> str:
    """An arrow along an SVG path."""
    return f'<path class="line{" dashed" if dashed else ""}" d="{path}"/>'


def words(x: int, y: int, *lines: str, left: bool = False) -> str:
    """Small text beside an arrow."""
    kind = "small left" if left else "small"
    return "".join(
        f'<text class="{kind}" x="{x}" y="{y + 16 * number}">{escape(text)}</text>' for number, text in enumerate(lines)
    )


def picture(title: str, width: int, height: int, parts: Iterable[str]) -> str:
    """The whole of an SVG file."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z"/></marker></defs>\n'
        f'<rect class="ground" width="{width}" height="{height}" rx="10"/>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def states() -> str:
    """The state machine."""
    return picture(
        "Closed trips to open, open becomes half-open in time, a probe closes it or opens it again",
        785,
        300,
        [
            Box(130, 150, 170, 70, ("closed", "every call is admitted"), "closed").svg(),
            Box(620, 70, 170, 70, ("open", "no call is admitted"), "open").svg(),
            Box(620, 230, 170, 70, ("half-open", "probes only, by permit"), "half").svg(),
            line("M216 125 L533 72"),
            words(345, 58, "trips: enough failures in the", "window, by share and number"),
            line("M590 106 L590 194"),
            words(498, 146, "the open interval", "is over"),
            line("M655 194 L655 106"),
            words(672, 141, "a probe fails:", "open again,", "for longer", left=True),
            line("M533 228 L216 175"),
            words(345, 236, "enough probes succeed: the backlog", "comes back on a ramp"),
        ],
    )


def way() -> str:
    """The way of a task."""
    return picture(
        "From the broker past the gate to the pool; what happened goes to the store, and from there to every worker",
        860,
        330,
        [
            Box(85, 80, 120, 56, ("queue", "of the broker"), "queue").svg(),
            Box(300, 80, 190, 70, ("gate", "in the worker’s main process,", "reads memory only")).svg(),
            Box(540, 80, 120, 56, ("pool", "runs the task")).svg(),
            Box(760, 80, 140, 56, ("service", "mail, payments, …")).svg(),
            Box(540, 220, 130, 56, ("reporter", "a thread")).svg(),
            Box(760, 220, 140, 56, ("store", "Redis, a database, …"), "queue").svg(),
            Box(300, 220, 190, 70, ("on_open", "park, pause, retry,", "fail, a fallback"), "open").svg(),
            Box(85, 220, 130, 56, ("parking queue", "of the broker"), "queue").svg(),
            line("M146 80 L203 80"),
            line("M396 80 L478 80"),
            words(437, 70, "admitted"),
            line("M601 80 L688 80"),
            line("M300 116 L300 183"),
            words(262, 152, "refused"),
            line("M204 220 L152 220"),
            line("M540 109 L540 190"),
            words(580, 152, "outcome"),
            line("M606 220 L688 220"),
            line("M760 249 L760 300 L420 300 L420 100 L397 100", dashed=True),
            words(600, 318, "bus, and a look each second: every worker’s view of the record"),
        ],
    )


def parking() -> str:
    """Parking and release."""
    return picture(
        "Workers park refused tasks; the agent releases probes while half-open and the backlog after the close",
        860,
        300,
        [
            Box(110, 90, 150, 62, ("orders", "the task’s own queue"), "queue").svg(),
            Box(400, 90, 130, 62, ("workers", "all of the fleet")).svg(),
            Box(725, 90, 240, 62, ("celery_breaker.parked.mail", "plain, durable"), "queue").svg(),
            Box(400, 230, 170, 62, ("agent", "holds the lease: one acts"), "half").svg(),
            line("M186 90 L333 90"),
            words(260, 80, "taken"),
            line("M466 90 L603 90"),
            words(535, 60, "parked: copy first,", "then acknowledged"),
            line("M725 122 L725 230 L487 230"),
            words(605, 222, "oldest first"),
            line("M314 230 L110 230 L110 123"),
            words(190, 252, "half-open: as many as there are permits", "closed: on the ramp, behind fresh work"),
            line("M400 199 L400 123", dashed=True),
            words(406, 166, "one of them is the agent", left=True),
        ],
    )


DIAGRAMS = {"states": states, "way": way, "parking": parking}


if __name__ == "__main__":
    for name, draw in DIAGRAMS.items():
        (FOLDER / f"{name}.svg").write_text(draw())
