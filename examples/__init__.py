"""Runnable examples: `python -m examples` serves all of them on http://127.0.0.1:8080/."""
