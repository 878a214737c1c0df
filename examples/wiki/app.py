"""The wiki as one callable for any server: `gunicorn wiki.app:application` or `uvicorn wiki.app:application`."""

import cpadapter

from .handlers import mount

mount(cpadapter.tree)
application = cpadapter.tree
