"""Figures for Prometheus and OpenTelemetry (extras of these names): one table of metrics, two ways to tell them."""
