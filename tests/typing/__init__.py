"""What a type checker must find out about the package by itself; `make lint` has mypy read it, nobody runs it."""
