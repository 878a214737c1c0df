"""The borders: WSGI and ASGI on one side, heads and exchanges on the other."""
