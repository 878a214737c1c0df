"""Wiki text to HTML: pure functions that escape everything they did not write, knowing neither requests nor the store.

The text has paragraphs (blank lines between), `= Headings =`, `* lists`, `# numbered lists`, lines of code (one leading
space), `----` rules, '''strong''' and ''emphasised'' words, `code`, [[Page links]], [[Page|links with a label]],
[[file:name.pdf]] for an attachment, and bare http(s) addresses.
"""

import re
from collections.abc import Callable, Iterator
from html import escape

__all__ = ['link_targets', 'normalise_title', 'render']

# Gives (address, exists) for the title of a page, or for the name of an attachment when `is_file`.
Resolve = Callable[[str, bool], tuple[str, bool]]

MAX_TITLE = 100  # characters
MAX_DEPTH = 6  # of nested lists

INLINE = re.compile(
    r'`(?P<code>[^`\n]+)`'
    r'|\[\[(?P<target>[^\[\]|\n]+)(?:\|(?P<label>[^\[\]|\n]+))?\]\]'
    r'|(?P<address>https?://[^\s<>"\'`\[\]]+)'
    r"|'''(?P<strong>[^\n]+?)'''"
    r"|''(?P<emphasis>[^\n]+?)''"
)
HEADING = re.compile(r'(={1,4})[ \t]+(\S.*)')
ITEM = re.compile(r'([*#]+)[ \t]+(\S.*)')
FORBIDDEN = set('/\\[]|#?%<>{}')


def normalise_title(text: str) -> str:
    """Give the one spelling of a page title: single spaces, first letter upper case.

    Raises ValueError if the text is empty, too long, or holds a character that a title may not have.
    """
    title = ' '.join(text.split())
    if not title or len(title) > MAX_TITLE or not title.isprintable() or FORBIDDEN.intersection(title):
        raise ValueError(f'not a page title: {text!r}')
    if not title.strip('.'):
        raise ValueError('a title needs more than dots')
    return title[:1].upper() + title[1:]


def link_targets(text: str) -> set[str]:
    """Give the titles of all pages that `text` links to."""
    titles = set()
    for match in INLINE.finditer(text):
        target = match['target']
        if target is not None and not target.startswith('file:'):
            try:
                titles.add(normalise_title(target))
            except ValueError:
                continue  # shown as plain text, so no link
    return titles


def render(text: str, resolve: Resolve) -> str:
    """Give the HTML of a wiki text; headings start at h2."""
    return '\n'.join(_blocks(text.split('\n'), resolve))


def _blocks(lines: list[str], resolve: Resolve) -> Iterator[str]:
    """Yield one HTML block after the other."""
    position = 0
    while position < len(lines):
        line = lines[position]
        start = position
        position += 1
        kind = _kind(line)
        if kind == 'heading':
            marks, title = HEADING.match(line).groups()  # type: ignore[union-attr]
            level = len(marks) + 1
            yield f'<h{level}>{_inline(title.rstrip().rstrip("=").rstrip(), resolve)}</h{level}>'
        elif kind == 'rule':
            yield '<hr>'
        elif kind != 'blank':
            while position < len(lines) and _kind(lines[position]) == kind:
                position += 1
            block = lines[start:position]
            if kind == 'item':
                yield _list(block, resolve)
            elif kind == 'code':
                yield '<pre>' + escape('\n'.join(line[1:] for line in block)) + '</pre>'
            else:
                yield '<p>' + _inline('\n'.join(block), resolve) + '</p>'


def _kind(line: str) -> str:
    """Tell to which kind of block a line belongs."""
    if not line.strip():
        return 'blank'
    if line[0] == ' ':
        return 'code'
    if HEADING.match(line):
        return 'heading'
    if ITEM.match(line):
        return 'item'
    if not line.rstrip().strip('-') and len(line.rstrip()) >= 4:
        return 'rule'
    return 'text'


def _list(lines: list[str], resolve: Resolve) -> str:
    """Give nested lists for item lines: the number of marks is the depth, the last mark the kind of list."""
    parts: list[str] = []
    open_lists: list[str] = []
    for line in lines:
        marks, content = ITEM.match(line).groups()  # type: ignore[union-attr]
        depth = min(len(marks), len(open_lists) + 1, MAX_DEPTH)
        tag = 'ul' if marks[depth - 1] == '*' else 'ol'
        while len(open_lists) > depth or (len(open_lists) == depth and open_lists[-1] != tag):
            parts.append(f'</li></{open_lists.pop()}>')
        if len(open_lists) == depth:
            parts.append('</li>')
        else:
            parts.append(f'<{tag}>')
            open_lists.append(tag)
        parts.append('<li>' + _inline(content.rstrip(), resolve))
    while open_lists:
        parts.append(f'</li></{open_lists.pop()}>')
    return ''.join(parts)


def _inline(text: str, resolve: Resolve) -> str:
    """Give the HTML of running text."""
    parts = []
    end = 0
    for match in INLINE.finditer(text):
        parts.append(escape(text[end : match.start()]))
        parts.append(_piece(match, resolve))
        end = match.end()
    parts.append(escape(text[end:]))
    return ''.join(parts)


def _piece(match: re.Match[str], resolve: Resolve) -> str:
    """Give the HTML of one link, address, or marked word."""
    kind = match.lastgroup
    if kind == 'code':
        return f'<code>{escape(match["code"])}</code>'
    if kind == 'strong':
        return f'<strong>{_inline(match["strong"], resolve)}</strong>'
    if kind == 'emphasis':
        return f'<em>{_inline(match["emphasis"], resolve)}</em>'
    if kind == 'address':
        # A full stop or a bracket after an address belongs to the sentence.
        address = match['address'].rstrip('.,;:!?)')
        rest = match['address'][len(address) :]
        return f'<a rel="nofollow noreferrer" href="{escape(address)}">{escape(address)}</a>{escape(rest)}'
    return _link(match['target'], match['label'], match[0], resolve)


def _link(target: str, label: str | None, source: str, resolve: Resolve) -> str:
    """Give a link to a page or an attachment, or the text as written if the target cannot be a title."""
    is_file = target.startswith('file:')
    if is_file:
        name = target[len('file:') :].strip()
    else:
        try:
            name = normalise_title(target)
        except ValueError:
            return escape(source)
    address, exists = resolve(name, is_file)
    mark = '' if exists else ' class="missing"'
    shown = label or (name if is_file else target)
    return f'<a{mark} href="{escape(address)}">{escape(shown.strip())}</a>'
