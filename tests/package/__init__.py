"""The package as a stranger gets it: what is built, what is in it, and what importing it takes."""
