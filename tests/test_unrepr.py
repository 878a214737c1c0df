"""unrepr: what config text is taken as, and what is refused in which words."""

import collections.abc
import io
import os
import re
import subprocess
import sys
import xml.dom
from configparser import (
    ConfigParser,
    DuplicateOptionError,
    DuplicateSectionError,
    InterpolationMissingOptionError,
    MissingSectionHeaderError,
    ParsingError,
)

import pytest

from cpadapter import unrepr as module
from cpadapter.unrepr import attributes, modules, parser_class, unrepr


def parse(text):
    return parser_class().load(io.StringIO(text))


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('', ''),
        ('  ', ''),
        ('# only a comment', ''),
        ('1', 1),
        ('-1', -1),
        ('+1', 1),
        ('~1', -2),
        ('1.5', 1.5),
        ('1j', 1j),
        ('"a" "b"', 'ab'),
        ('b"x"', b'x'),
        ('"é"', 'é'),
        ('None', None),
        ('True', True),
        ('not True', False),
        ('...', ...),
        ('()', ()),
        ('(1, 2)', (1, 2)),
        ('1, 2', (1, 2)),
        ('[1, [2]]', [1, [2]]),
        ('[*[1, 2], 3]', [1, 2, 3]),
        ('{1, 2}', {1, 2}),
        ('{"a": 1, **{"b": 2}}', {'a': 1, 'b': 2}),
        ('1 + 2 * 3 - 4', 3),
        ('7 / 2', 3.5),
        ('7 // 2', 3),
        ('7 % 4', 3),
        ('2 ** 10', 1024),
        ('4 | 1', 5),
        ('[0] * 3', [0, 0, 0]),
        ('[1, 2, 3][0]', 1),
        ('[1, 2, 3][1:]', [2, 3]),
        ('{"a": 1}["a"]', 1),
        ('int', int),
        ('os.sep', os.sep),
        ('os.path.join(sys.prefix, "hello.py")', os.path.join(sys.prefix, 'hello.py')),
        ('collections.abc.Mapping', collections.abc.Mapping),
        ('dict(a=1)', {'a': 1}),
        ('max(*[1, 2])', 2),
        ('dict(**{"a": 2, "b": 3}, a=1)', {'a': 1, 'b': 3}),
        ('dict(a=1, **{"a": 2})', {'a': 1}),
        ('  1  # one', 1),
        ('1 ; c', 1),
        ('[\n1,\n2]', [1, 2]),
        ('"a"\n"b"', 'ab'),
        ('# two\n[1]', [1]),
    ],
)
def test_value_of_an_expression(text, value):
    result = unrepr(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('1 if 1 else 2', "unrepr does not recognize 'IfExp'"),
        ('lambda: 1', "unrepr does not recognize 'Lambda'"),
        ('[x for x in (1,)]', "unrepr does not recognize 'ListComp'"),
        ('f"{1}"', "unrepr does not recognize 'JoinedStr'"),
        ('1 < 2', "unrepr does not recognize 'Compare'"),
        ('1 and 2', "unrepr does not recognize 'BoolOp'"),
        ('1 @ 2', "unrepr does not recognize 'MatMult'"),
        ('(a := 1)', "unrepr does not recognize 'NamedExpr'"),
        ('zz', "unrepr could not resolve the name 'zz'"),
        ('zz.yy', "unrepr could not resolve the name 'zz'"),
    ],
)
def test_what_is_not_taken_is_named(text, message):
    with pytest.raises(TypeError, match=f'^{re.escape(message)}$'):
        unrepr(text)


@pytest.mark.parametrize('text', ['1 +', '"a', 'x = 1', 'import os', '1 2'])
def test_text_that_is_no_expression_is_a_syntax_error(text):
    with pytest.raises(SyntaxError):
        unrepr(text)


def test_missing_attribute_of_a_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match='nope'):
        unrepr('os.nope')
    with pytest.raises(AttributeError, match='nope'):
        unrepr('xml.nope')


def test_submodule_is_imported_when_an_attribute_chain_names_it(monkeypatch):
    monkeypatch.delitem(sys.modules, 'xml.dom.minidom', raising=False)
    monkeypatch.delattr(xml.dom, 'minidom', raising=False)
    assert unrepr('xml.dom.minidom.parseString').__name__ == 'parseString'


def test_import_error_inside_a_named_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / 'broken_settings.py').write_text('import no_such_module_here')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match='no_such_module_here'):
        unrepr('broken_settings.x')


def test_name_cherrypy_means_this_package(monkeypatch):
    monkeypatch.delitem(sys.modules, 'cherrypy', raising=False)
    assert unrepr('cherrypy') is sys.modules['cpadapter']
    assert unrepr('cherrypy.unrepr.modules') is modules
    assert modules('cherrypy.unrepr') is module
    assert attributes('cherrypy.unrepr.modules') is modules


def test_name_cherrypy_means_the_module_of_that_name_once_it_is_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cherrypy', os)
    assert unrepr('cherrypy') is os


def test_modules_gives_the_innermost_module():
    assert modules('os.path') is os.path
    with pytest.raises(ModuleNotFoundError):
        modules('no.such')


def test_attributes_imports_and_gets():
    assert attributes('os.path.join') is os.path.join
    with pytest.raises(AttributeError, match=r"^'os' object has no attribute 'nope'$"):
        attributes('os.nope')
    with pytest.raises(ValueError, match='names no attribute'):
        attributes('os')


def test_parser_is_a_config_parser():
    assert module.Parser is parser_class()
    assert issubclass(module.Parser, ConfigParser)
    assert module.Parser.__name__ == 'Parser'
    with pytest.raises(AttributeError):
        module.Nonesuch  # noqa: B018


def test_file_format():
    assert parse(
        '[DEFAULT]\ncommon = 1\n'
        '[/Path]\n; comment\nMixed.Case: "x"\nlist = [1,\n  # inside\n  2]\nempty =\npercent = "100%%"\n'
        'ones: "11"\ntwos: "22"\nstradd: %(ones)s + %(twos)s + "33"\n'
    ) == {
        '/Path': {
            'Mixed.Case': 'x',
            'list': [1, 2],
            'empty': '',
            'percent': '100%',
            'ones': '11',
            'twos': '22',
            'stradd': '112233',
            'common': 1,
        }
    }


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('"%"', '%'),
        ('"100% %%" + %(one)s', '100% %1%'),
        ('"%d %%(one)s %"', '%d %(one)s %'),
        ('7 % 4', 3),
        ('"%%%"', '%%'),
    ],
)
def test_a_percent_sign_need_not_be_doubled(text, value):
    assert parse(f'[a]\none = "1%"\nx = {text}\n') == {'a': {'one': '1%', 'x': value}}


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('x = 1', MissingSectionHeaderError),
        ('[a]\nx', ParsingError),
        ('[a]\nx = 1\nx = 2', DuplicateOptionError),
        ('[a]\n[a]', DuplicateSectionError),
        ('[a]\nx = "%(nosuch)s"', InterpolationMissingOptionError),
    ],
)
def test_broken_file_raises_the_parsers_own_error(text, error):
    with pytest.raises(error):
        parse(text)


def test_bad_value_is_named_with_section_option_and_cause():
    with pytest.raises(ValueError) as caught:
        parse('[/]\na = foo')
    assert caught.value.args == (
        "Config error in section: '/', option: 'a', value: 'foo'. Config values must be valid Python.",
        'TypeError',
        ("unrepr could not resolve the name 'foo'",),
    )
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason='exceptions have notes from Python 3.11 on')
def test_the_file_of_a_bad_value_is_noted(tmp_path):
    path = tmp_path / 'site.conf'
    path.write_text('[/]\na = zz\n', encoding='utf-8')
    with pytest.raises(ValueError, match='Config error in section') as by_name:
        parser_class().load(str(path))
    with path.open('rb') as file, pytest.raises(ValueError, match='Config error in section') as opened:
        parser_class().load(file)
    assert by_name.value.__notes__ == opened.value.__notes__ == [f'The config file is {str(path)!r}.']


def test_load_reads_names_open_files_bytes_and_dicts(tmp_path):
    path = tmp_path / 'site.conf'
    path.write_text('[a]\nx = "é"\n', encoding='utf-8-sig')
    load = parser_class().load
    wanted = {'a': {'x': 'é'}}
    assert load(str(path)) == load(path) == wanted
    with path.open('rb') as file:
        assert load(file) == wanted
    source = {'a': 1}
    assert load(source) == source
    assert load(source) is not source


def test_missing_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        parser_class().load(str(tmp_path / 'none.conf'))
    with pytest.raises(FileNotFoundError):
        parser_class()().read([str(tmp_path / 'none.conf')])


def test_raw_dict_keeps_the_percent_signs():
    parser = parser_class()()
    parser.read_string('[a]\nx = "%(y)s"')
    assert parser.as_dict(raw=True) == {'a': {'x': '%(y)s'}}
    assert parser.as_dict(vars={'y': 'z'}) == {'a': {'x': 'z'}}


def test_importing_config_imports_neither_ast_nor_configparser():
    code = (
        'import sys; before = set(sys.modules); import cpadapter.unrepr, cpadapter.lib.reprconf;'
        'print(sorted({"configparser", "ast", "difflib"} & (set(sys.modules) - before)))'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == '[]'
