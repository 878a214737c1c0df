"""A chat: rooms read and written by WebSocket, or by server-sent events and POST where there is none.

    uvicorn examples.chat:application
    gunicorn -k asgi examples.chat:application

All who talk to each other are in one process: give the server one worker.
"""

from .pages import Chat, application, config

__all__ = ['Chat', 'application', 'config']
