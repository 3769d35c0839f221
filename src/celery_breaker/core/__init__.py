"""The rules of a breaker: values and pure functions, and the only place that decides."""
