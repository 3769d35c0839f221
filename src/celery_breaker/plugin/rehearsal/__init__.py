"""An app's breakers in the hands of a test, with eager tasks that pass them as they would in a worker."""
