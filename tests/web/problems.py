"""What the REST API says when something is wrong."""

from __future__ import annotations

from typing import Any


def is_problem(answer: Any, status: int, *words: str) -> None:
    """The answer is a problem as RFC 9457 has it, and its sentence has these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    for word in words:
        assert word in problem["detail"]
