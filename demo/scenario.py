"""What happens when: the numbers of one run, the same for both shops."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A steady flow of orders with an outage of the mail server in its middle. All times are seconds.

    Attributes:
        rate: orders per second.
        before: from the first order to the outage.
        outage: how long the mail server stays down.
        after: how long orders keep coming once it is back.
        patience: how long after the last order a shop may take to finish what it can.
        seed: repeats the same customers at the same times.
    """

    rate: float = 8.0
    before: float = 8.0
    outage: float = 22.0
    after: float = 14.0
    patience: float = 30.0
    seed: int = 1

    @property
    def orders_for(self) -> float:
        """From the first order to the last."""
        return self.before + self.outage + self.after

    @property
    def back_at(self) -> float:
        """When the mail server comes back."""
        return self.before + self.outage

    def phase(self, elapsed: float) -> str:
        """What is going on, in words."""
        if elapsed < 0:
            return "starting"
        if elapsed < self.before:
            return "all is well"
        if elapsed < self.back_at:
            return "MAIL SERVER DOWN"
        return "mail server back" if elapsed < self.orders_for else "no more orders; finishing"


QUICK = Scenario(rate=6.0, before=3.0, outage=10.0, after=4.0)
"""Short enough for a test, long enough that plain retries give up."""
