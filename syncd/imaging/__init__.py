"""Everything that decodes or hashes a photo, in worker processes without secrets."""
