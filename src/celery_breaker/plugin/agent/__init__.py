"""The agent: tends breakers that are open, and brings back what is parked."""
