"""The harness: servers, workers and waiting. Nothing here is a test, and nothing starts unless a test asks for it."""
