"""Timings of one request, side by side with other frameworks: `python -m tests.bench --help`.

Nothing here is a test and no timing is asserted: pytest collects none of these files.
"""
