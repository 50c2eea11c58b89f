"""A mixture of photograph patches, and what it is good for."""
