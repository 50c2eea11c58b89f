"""How each peer takes iterations: see ``worker.py`` for what a class has."""
