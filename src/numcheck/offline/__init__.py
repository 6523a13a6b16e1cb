"""Work on a data directory without a node."""
