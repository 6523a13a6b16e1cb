"""How a code reaches a user. What sends has `channels`, the ways it knows, and `send`; it keeps nothing."""
