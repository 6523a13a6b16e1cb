"""Carriers of calls: grpcio's listener, the native door, and what both need."""
