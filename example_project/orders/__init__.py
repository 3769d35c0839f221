"""Orders: placed, then charged, then confirmed by mail."""
