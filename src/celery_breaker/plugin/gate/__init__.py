"""The gate of a worker's tasks: who passes, what becomes of the others, and how each run counts."""
