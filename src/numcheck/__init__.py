"""numcheck: whether a mobile number is allotted, whose it is, and whether it is in service."""
