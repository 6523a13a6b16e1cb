"""The page for people: what it shows, whom it lets in, and how it is served. Needs the extra `page`."""
