"""syncd: photos from folders and services to a live public site."""

__version__ = "0.1.0"
