"""A fleet in miniature: what a policy would do in an outage, worked out with the very functions that workers use."""
