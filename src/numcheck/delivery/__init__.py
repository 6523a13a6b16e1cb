"""Delivery of codes to users. A courier has `channels`, the ways it knows, and `send`; it keeps nothing."""
