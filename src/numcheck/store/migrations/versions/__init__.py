"""Each step of the schema, in a file of its number."""
