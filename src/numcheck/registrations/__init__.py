"""Registrations: who a user is by their number, how that is verified, and what is kept of it. No SQL, no gRPC."""
