"""What the public types are, said to mypy and pyright; `make lint` runs both over it, and pytest runs it as code.

A `type: ignore` is an error that is expected: one that does not come is reported as an unused comment.
A file for each part; what is added to the public interface says its types here.
"""
