"""The bus: news between processes, over the broker, and what the message store says on one of its own."""
