"""Worker processes for everything that decodes or hashes a photo."""
