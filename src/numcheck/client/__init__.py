"""The Python client: asks a node, and batches for its caller."""

from numcheck.client.check import CheckClient, Checked

__all__ = ["CheckClient", "Checked"]
