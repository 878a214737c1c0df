"""Serve the wiki alone: `python -m wiki` in the folder above this one, with the address given in wiki.conf."""

import cpadapter

from .handlers import CONFIG_FILE, mount

cpadapter.quickstart(mount(cpadapter.tree), config=CONFIG_FILE)
