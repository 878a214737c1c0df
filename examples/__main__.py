"""Serve all examples under one address: `python -m examples [--host HOST] [--port PORT]`."""

import argparse

import cpadapter

from . import chat, hello
from .wiki.handlers import mount as mount_wiki


class Index:
    """The first page: what there is to see."""

    @cpadapter.expose
    def index(self) -> str:
        """Answer `/`: links to the examples."""
        examples = [
            ('/hello/', 'Hello', 'pages, a form, a streamed page, errors and an async page, in one file'),
            ('/wiki/', 'Wiki', 'pages with history and attachments, kept in SQLite'),
            ('/wiki/api/', 'Wiki as JSON', 'a second application beside the wiki'),
            ('/chat/', 'Chat', 'rooms by WebSocket or server-sent events'),
        ]
        lines = [f'<li>{hello.link(path, name)}: {what}</li>' for path, name, what in examples]
        return hello.html('Examples', '<ul>\n' + '\n'.join(lines) + '\n</ul>')


def main() -> None:
    """Mount the examples beside each other and serve them until stopped."""
    parser = argparse.ArgumentParser(prog='python -m examples', description='Serve the examples.')
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=8080)
    options = parser.parse_args()
    cpadapter.tree.mount(hello.Root(), '/hello', hello.config)
    mount_wiki(cpadapter.tree, '/wiki')
    cpadapter.tree.mount(chat.Chat(), '/chat', chat.config)
    # The index takes the place at / that hello has when it is served alone.
    address = {'server.socket_host': options.host, 'server.socket_port': options.port}
    cpadapter.quickstart(Index(), '/', {'global': address})


if __name__ == '__main__':
    main()
