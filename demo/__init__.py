"""One outage of a mail server, met by two shops: one with celery-breaker, one with plain retries.

Run it with ``python -m demo``; ``--help`` lists the options.
"""
