"""Caller: who a user is by his number, how that is verified, and what is kept of it. Rules; no SQL, no gRPC."""
