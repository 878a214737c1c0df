"""Serve the chat alone: `python -m examples.chat`, on http://127.0.0.1:8080/."""

import cpadapter

from .pages import Chat, config

cpadapter.quickstart(Chat(), '/', config)
