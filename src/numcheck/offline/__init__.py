"""What is done to a data directory without a node."""
