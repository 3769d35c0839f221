"""Publishing for a breaker that is open, from a process that is no worker."""
