"""What carries calls: grpcio's listener, the native listener, and what both need."""
