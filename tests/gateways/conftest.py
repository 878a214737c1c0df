"""The marker of tests that run real servers."""

from __future__ import annotations


def pytest_configure(config):
    config.addinivalue_line('markers', 'live: runs a real server on a free port of 127.0.0.1')
