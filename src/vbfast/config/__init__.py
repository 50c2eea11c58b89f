"""Which backend passes run on, and on how many threads."""
