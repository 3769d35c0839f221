"""What a worker runs for its breakers: how it starts and ends, what it tells, and what it is told."""
