"""Parking: messages set aside in queues of the user's own broker; a file for each transport that needs its own way."""
