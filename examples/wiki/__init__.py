"""A wiki: pages with history kept in SQLite, attachments on disk, and a JSON interface mounted beside it."""
