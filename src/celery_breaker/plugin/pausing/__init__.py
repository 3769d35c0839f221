"""Pausing: while a breaker refuses, its tasks' queues are not consumed."""
