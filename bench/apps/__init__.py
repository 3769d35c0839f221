"""Tasks that the measured workers run."""
