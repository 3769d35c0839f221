"""What tasks and settings declare: which task has which breakers, with what policy."""
