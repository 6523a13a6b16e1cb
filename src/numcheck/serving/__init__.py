"""The node: what lives as long as the process. The listener, the index that it answers from, signals and drain."""
