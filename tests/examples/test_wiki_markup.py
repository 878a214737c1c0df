"""The wiki's text format: pure functions, called with values."""

import random
from xml.etree import ElementTree

import pytest

from examples.wiki.markup import link_targets, normalise_title, render


def resolve(name: str, is_file: bool) -> tuple[str, bool]:
    """Know every page and file whose name begins with a letter before M."""
    return ('/file/' if is_file else '/page/') + name, name < 'M'


@pytest.mark.parametrize(
    ('text', 'html'),
    [
        ('one\ntwo\n\nthree', '<p>one\ntwo</p>\n<p>three</p>'),
        ('= Big =', '<h2>Big</h2>'),
        ('== Small', '<h3>Small</h3>'),
        ('=no heading', '<p>=no heading</p>'),
        ('* a\n** b\n* c', '<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>'),
        ('* a\n# b', '<ul><li>a</li></ul><ol><li>b</li></ol>'),
        ('*** a', '<ul><li>a</li></ul>'),
        (' x < y\n  z', '<pre>x &lt; y\n z</pre>'),
        ('----', '<hr>'),
        ("'''a''' ''b'' `''c''`", '<p><strong>a</strong> <em>b</em> <code>&#x27;&#x27;c&#x27;&#x27;</code></p>'),
        ("'''a ''b'' c'''", '<p><strong>a <em>b</em> c</strong></p>'),
        ('[[apple pie]]', '<p><a href="/page/Apple pie">apple pie</a></p>'),
        ('[[Zoo|the "zoo"]]', '<p><a class="missing" href="/page/Zoo">the &quot;zoo&quot;</a></p>'),
        ('[[a<b]]', '<p>[[a&lt;b]]</p>'),
        ('[[file: F&G.txt]]', '<p><a href="/file/F&amp;G.txt">F&amp;G.txt</a></p>'),
        (
            '(https://a.org/?b=1&c=2.)',
            '<p>(<a rel="nofollow noreferrer" href="https://a.org/?b=1&amp;c=2">https://a.org/?b=1&amp;c=2</a>.)</p>',
        ),
        ('javascript:alert(1) [[javascript:alert(1)]]', None),
    ],
)
def test_text_is_rendered(text: str, html: str | None) -> None:
    if html is None:
        assert 'href="javascript' not in render(text, resolve)
    else:
        assert render(text, resolve) == html


def test_any_text_gives_well_formed_html_of_known_elements_only() -> None:
    pieces = ["'", "''", "'''", '`', '[[', ']]', '|', 'http://a.b/', '<', '>', '&', '"', '\n', '\n\n', ' ', '*', '# ']
    pieces += ['= ', 'a', 'Z', 'file:', '----', '\n* ', '\n** ', '\n*# ', '<script>', 'é', '</p>', 'onclick="x"']
    known = {'div', 'p', 'h2', 'h3', 'h4', 'h5', 'ul', 'ol', 'li', 'pre', 'code', 'a', 'strong', 'em', 'hr'}
    choose = random.Random(7)
    for _ in range(3000):
        text = ''.join(choose.choices(pieces, k=choose.randint(1, 25)))
        tree = ElementTree.fromstring('<div>' + render(text, resolve).replace('<hr>', '<hr/>') + '</div>')
        for element in tree.iter():
            assert element.tag in known, text
            assert set(element.attrib) <= {'href', 'class', 'rel'}, text
            assert element.get('href', '/').startswith(('/', 'http')), text


def test_link_targets_are_titles_of_pages() -> None:
    assert link_targets('[[one]] [[ one ]] [[two|x]] [[file:three]] [[a#b]] `[[four]]`') == {'One', 'Two'}


@pytest.mark.parametrize(
    'title', ['', '  ', '.', '..', 'a/b', 'a\\b', 'a?b', 'a#b', 'a<b', 'a\0b', 'x' * 101, 'a\u202eb']
)
def test_text_that_cannot_be_a_title_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match='title'):
        normalise_title(title)


def test_title_has_one_spelling() -> None:
    assert normalise_title('  front \n page ') == 'Front page'
    assert normalise_title('élan') == 'Élan'
