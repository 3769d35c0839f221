from tests.support.nodes import *  # noqa: F403  (pytest-celery's fixtures, on local processes)
