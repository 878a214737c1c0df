"""LogManager and GlobalLog, called with small exchanges made here: no client, no server."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import re
import threading
import time
import uuid
from types import SimpleNamespace

import pytest

from cpadapter import context
from cpadapter.core import log as log_module
from cpadapter.core.log import ATOMS, GlobalLog, LogManager, WSGIErrorHandler, logfmt, response_facts
from cpadapter.core.logformats import JSONFormatter, request_id

_roots = itertools.count(1)


class Collector(logging.Handler):
    """Keeps the records it is given."""

    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def lines(self):
        return [record.getMessage() for record in self.records]


def make_exchange(headers=None, status=b'200 OK', sent=None, app=None, **attributes):
    request = SimpleNamespace(
        remote=SimpleNamespace(name='', ip='127.0.0.1'),
        login=None,
        request_line='GET /page HTTP/1.1',
        headers={'Referer': 'http://example.com/', 'User-Agent': 'Browser 1'} if headers is None else headers,
        unique_id=uuid.uuid4(),
        wsgi_environ=None,
    )
    vars(request).update(attributes)
    response = SimpleNamespace(output_status=status, headers={'Content-Length': '12'} if sent is None else sent)
    return SimpleNamespace(request=request, response=response, app=app)


@pytest.fixture
def root():
    """A logger root of its own for each test; what was hung on its loggers is taken off afterwards."""
    name = f'cptest{next(_roots)}'
    yield name
    for known, logger in list(logging.Logger.manager.loggerDict.items()):
        if (known == name or known.startswith(name + '.')) and isinstance(logger, logging.Logger):
            for handler in list(logger.handlers):
                logger.removeHandler(handler)
                handler.close()


@pytest.fixture
def site(root):
    return LogManager(logger_root=root)


def isolate(root):
    """Cut the loggers of this test off from those above. Called in the test itself: pytest looks before each phase
    for loggers that do not propagate and hangs handlers of its own on them."""
    logger = logging.getLogger(root)
    logger.propagate = False
    logger.handlers.clear()


@pytest.fixture
def errors(site):
    collector = Collector()
    site.error_log.addHandler(collector)
    return collector


@pytest.fixture
def accesses(site):
    collector = Collector()
    site.access_log.addHandler(collector)
    return collector


@pytest.fixture
def enter():
    """Put an exchange into the current context for the rest of the test."""
    tokens = []

    def _enter(exchange):
        tokens.append(context.exchange_var.set(exchange))
        return exchange

    yield _enter
    for token in reversed(tokens):
        context.exchange_var.reset(token)


@pytest.fixture
def outside(monkeypatch):
    """Make the placeholder of a context without an exchange one whose app is None."""
    monkeypatch.setattr(context, 'outside_factory', [lambda: make_exchange(status=None, sent={})])
    token = context._outside_var.set(None)
    yield
    context._outside_var.reset(token)


# -- Loggers and levels ------------------------------------------------------------------------------------------------


def test_a_manager_makes_no_handler(site):
    app = LogManager('shop', site.logger_root)
    for logger in (site.error_log, site.access_log, app.error_log, app.access_log):
        assert logger.handlers == []
        assert logger.propagate
    assert (site.screen, site.wsgi, site.error_file, site.access_file) == (False, False, '', '')


def test_logger_names_follow_root_and_appid(root):
    assert LogManager().error_log.name == 'cpadapter.error'
    manager = LogManager(12, root)
    assert (manager.error_log.name, manager.access_log.name) == (f'{root}.error.12', f'{root}.access.12')
    assert (manager.appid, manager.logger_root) == (12, root)


def test_site_loggers_have_level_info_and_app_loggers_follow_them(site):
    app = LogManager('shop', site.logger_root)
    assert site.error_log.level == site.access_log.level == logging.INFO
    assert app.error_log.level == app.access_log.level == logging.NOTSET
    assert app.access_log.isEnabledFor(logging.INFO)
    site.access_log.setLevel(logging.WARNING)
    assert not app.access_log.isEnabledFor(logging.INFO)


def test_an_app_manager_alone_logs_at_info(root):
    assert LogManager('shop', root).access_log.isEnabledFor(logging.INFO)


def test_a_level_set_before_the_manager_stays(root):
    logging.getLogger(f'{root}.access').setLevel(logging.WARNING)
    assert LogManager(logger_root=root).access_log.level == logging.WARNING


def test_app_records_reach_the_handlers_of_the_site(site, errors, accesses):
    app = LogManager('shop', site.logger_root)
    app.error('hello')
    app.access(make_exchange())
    assert errors.lines[0].endswith(']  hello')
    assert len(accesses.lines) == 1
    assert accesses.records[0].name == f'{site.logger_root}.access.shop'


def test_rename_moves_the_builtin_handlers_and_leaves_those_of_users(site, root, tmp_path):
    mine = Collector()
    site.error_log.addHandler(mine)
    site.screen = True
    site.error_file = tmp_path / 'error.log'
    before = site.error_log
    site.rename(f'{root}.other')
    assert site.logger_root == f'{root}.other'
    assert site.error_log.name == f'{root}.other.error'
    assert before.handlers == [mine]
    assert site.screen
    assert site.error_file == str(tmp_path / 'error.log')
    site.rename(f'{root}.other')
    assert site.screen
    assert len(site.error_log.handlers) == 2


# -- The error log -----------------------------------------------------------------------------------------------------


def test_error_joins_time_context_and_message_by_single_spaces(site, errors, monkeypatch):
    monkeypatch.setattr(site, 'time', lambda: '[now]')
    site.error('outside')
    site.error('inside', 'HTTP')
    site.error()
    site('called', context='ENGINE', severity=logging.WARNING)
    assert errors.lines == ['[now]  outside', '[now] HTTP inside', '[now]  ', '[now] ENGINE called']
    assert [record.levelno for record in errors.records] == [20, 20, 20, 30]


def test_error_does_not_interpolate(site, errors):
    site.error('100 %s %(a)s %d {x}')
    assert errors.lines[0].endswith(' 100 %s %(a)s %d {x}')


@pytest.mark.parametrize('message', [5, b'bytes', None, ['a']])
def test_error_refuses_a_message_that_is_no_str(site, message):
    with pytest.raises(TypeError):
        site.error(message)


def test_error_adds_the_traceback_of_the_exception_being_handled(site, errors):
    failure = ValueError('gone wrong')
    try:
        raise failure
    except ValueError:
        site.error('failed', traceback=True)
    assert errors.records[0].exc_info[1] is failure
    assert 'ValueError: gone wrong' in logfmt.format(errors.records[0])


def test_error_adds_no_traceback_where_nothing_was_raised(site, errors):
    site.error('fine', traceback=True)
    assert logfmt.format(errors.records[0]).endswith(' fine')


def test_error_records_name_the_file_of_the_caller(site, errors, enter):
    whole = GlobalLog(logger_root=site.logger_root)
    enter(make_exchange(app=SimpleNamespace(log=site)))
    site.error('directly')
    site('called')
    whole('through the global log')
    assert {os.path.basename(record.pathname) for record in errors.records} == {'test_log.py'}
    assert {record.funcName for record in errors.records} == {'test_error_records_name_the_file_of_the_caller'}


def test_call_goes_through_an_overridden_error(root):
    class Shouting(LogManager):
        def error(self, msg='', *args, **kwargs):
            super().error(msg.upper(), *args, **kwargs)

    manager = Shouting(logger_root=root)
    collector = Collector()
    manager.error_log.addHandler(collector)
    manager('quiet')
    assert collector.lines[0].endswith(' QUIET')


@pytest.mark.parametrize(
    ('message', 'shown'),
    [
        ('a\rb\x1b[31mc\x00\x7f\x9b', r'a\rb\x1b[31mc\x00\x7f\x9b'),
        ('one\n[22/Nov/2026:12:32:19] ENGINE forged', 'one\n [22/Nov/2026:12:32:19] ENGINE forged'),
        ('\r\n127.0.0.1 - - forged', '\\r\n 127.0.0.1 - - forged'),
        ('\nRequest Headers:\n  Host: a\n\tfolded\n\nend\n', '\n Request Headers:\n  Host: a\n\tfolded\n\n end\n'),
        ('tab\tstays', 'tab\tstays'),
        ('caf\xe9 \u20ac \xa0 \U0001f600', 'caf\xe9 \u20ac \xa0 \U0001f600'),
        ('\x85 \u2028 \u2029 \u202e \udc80', r'\x85 \u2028 \u2029 \u202e \udc80'),
    ],
)
def test_control_characters_in_an_error_message_are_escaped(site, errors, message, shown):
    site.error(message, 'C')
    assert errors.lines[0].partition(' C ')[2] == shown


def test_control_characters_in_the_context_are_escaped(site, errors):
    site.error('message', 'a\n[b\x1b')
    assert errors.lines[0].endswith('] a\n [b\\x1b message')


def test_an_exception_cannot_forge_a_record_in_a_file(site, tmp_path):
    site.error_file = tmp_path / 'error.log'
    try:
        raise ValueError('bad name \x1b[2J\n[22/Nov/2026:12:32:19] ENGINE forged\n\x9b')
    except ValueError:
        site.error('failed', traceback=True)
    lines = (tmp_path / 'error.log').read_text('utf-8').split('\n')
    assert lines[1] == 'Traceback (most recent call last):'
    assert lines[-4:] == ['ValueError: bad name \\x1b[2J', ' [22/Nov/2026:12:32:19] ENGINE forged', '\\x9b', '']


# -- Time --------------------------------------------------------------------------------------------------------------


def test_time_is_local_with_an_english_month(site, monkeypatch):
    monkeypatch.setattr(log_module, '_last_time', (-1, ''))
    moment = time.mktime((2026, 3, 5, 4, 7, 9, 0, 0, -1))
    monkeypatch.setattr(log_module.time, 'time', lambda: moment + 0.9)
    assert site.time() == '[05/Mar/2026:04:07:09]'
    assert site.time() is site.time()
    monkeypatch.setattr(log_module.time, 'time', lambda: moment + 1)
    assert site.time() == '[05/Mar/2026:04:07:10]'
    monkeypatch.setattr(log_module.time, 'time', lambda: moment - 10)
    assert site.time() == '[05/Mar/2026:04:06:59]'


# -- The access line ---------------------------------------------------------------------------------------------------


def test_the_default_line_is_the_combined_format(site, accesses, monkeypatch):
    monkeypatch.setattr(site, 'time', lambda: '[now]')
    site.access(make_exchange(login='ann'))
    assert accesses.lines == ['127.0.0.1 - ann [now] "GET /page HTTP/1.1" 200 12 "http://example.com/" "Browser 1"']
    record = accesses.records[0]
    assert (record.levelno, record.name, record.args) == (logging.INFO, f'{site.logger_root}.access', ())


def test_what_is_not_there_is_a_dash_or_empty(site, monkeypatch):
    monkeypatch.setattr(site, 'time', lambda: '[now]')
    exchange = make_exchange(headers={}, status=None, sent={}, login=False)
    assert site.access_line(exchange) == '127.0.0.1 - - [now] "GET /page HTTP/1.1" - - "" ""'


@pytest.mark.parametrize(
    ('atom', 'attributes', 'value'),
    [
        ('h', {'remote': SimpleNamespace(name='example.com', ip='10.0.0.1')}, 'example.com'),
        ('h', {'remote': SimpleNamespace(name='', ip='')}, '-'),
        ('l', {}, '-'),
        ('u', {'login': 'ann'}, 'ann'),
        ('u', {'login': ''}, '-'),
        ('u', {'login': 7}, '7'),
        ('r', {'request_line': 'GET / HTTP/1.1'}, 'GET / HTTP/1.1'),
        ('s', {'status': b'404 Not Found'}, '404'),
        ('s', {'status': b'299'}, '299'),
        ('s', {'status': '500 Oops'}, '500'),
        ('b', {'sent': {'Content-Length': 0}}, '0'),
        ('b', {'sent': {'Content-Length': ''}}, '-'),
        ('f', {'headers': {}}, ''),
        ('a', {'headers': {'User-Agent': 'x'}}, 'x'),
        ('o', {'headers': {'Host': 'example.com'}}, 'example.com'),
        ('o', {'headers': {}}, '-'),
        ('i', {'unique_id': 'abc'}, 'abc'),
    ],
)
def test_each_atom_alone(site, atom, attributes, value):
    site.access_log_format = f'<{{{atom}}}>'
    assert site.access_line(make_exchange(**attributes)) == f'<{value}>'


def test_the_atom_t_is_what_time_gives(root):
    class Fixed(LogManager):
        def time(self):
            return '[then]'

    manager = Fixed(logger_root=root)
    manager.access_log_format = '{t}'
    assert manager.access_line(make_exchange()) == '[then]'


def test_the_atom_z_has_one_zone_mark(site):
    site.access_log_format = '{z}'
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z', site.access_line(make_exchange()))


def test_every_atom_is_one_of_the_documented(site):
    assert ''.join(sorted(ATOMS)) == 'abfhilorstuz'


@pytest.mark.parametrize(
    ('value', 'shown'),
    [
        ('GET /slashed\\path HTTP/1.1', 'GET /slashed\\path HTTP/1.1'),
        ('Browzuh (1.0\r\n\t\t.3)', r'Browzuh (1.0\r\n\t\t.3)'),
        ('a"b', r'a\"b'),
        ('both "kinds" of \'quote\'', r'both \"kinds\" of ' + "'quote'"),
        ('\u03bd', r'\xce\xbd'),
        ('\x1b[31m\x00\x0b\x7f', r'\x1b[31m\x00\x0b\x7f'),
        ('\x85\u2028\udc80', r'\xc2\x85\xe2\x80\xa8\udc80'),
        ('%s %(x)s {h} {}', '%s %(x)s {h} {}'),
        ("it's ~plain~", "it's ~plain~"),
    ],
)
def test_atoms_are_escaped(site, value, shown):
    site.access_log_format = 'before {r}|{a} 100%'
    exchange = make_exchange(request_line=value, headers={'User-Agent': value})
    assert site.access_line(exchange) == f'before {shown}|{shown} 100%'


def test_one_request_is_one_line_whatever_it_holds(site, tmp_path):
    site.access_file = tmp_path / 'access.log'
    nasty = ''.join(map(chr, range(0x250))) + '\u2028\u2029\ud800%s%n{h}'
    exchange = make_exchange(
        headers={'Referer': nasty, 'User-Agent': nasty},
        request_line=nasty,
        login=nasty,
        remote=SimpleNamespace(name=nasty, ip=''),
    )
    site.access(exchange)
    data = (tmp_path / 'access.log').read_bytes()
    assert data.count(b'\n') == 1
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    assert len(data.decode('ascii').splitlines()) == 1


@pytest.mark.parametrize(
    ('source', 'line'),
    [
        ('{h:>12}|{s!r}', "   127.0.0.1|'200'"),
        ('{r[0]}{r[1]} {s:.1}', 'GE 2'),
        ('{{{h}}} 5% %s', '{127.0.0.1} 5% %s'),
        ('{h:{s}}', '127.0.0.1'.ljust(200)),
        ('nothing', 'nothing'),
        ('', ''),
        ('{s}{s}', '200200'),
    ],
)
def test_the_format_is_that_of_str_format(site, source, line):
    site.access_log_format = source
    assert site.access_line(make_exchange()) == line


def test_only_the_atoms_in_use_are_computed(site):
    site.access_log_format = '{h}'
    exchange = SimpleNamespace(request=SimpleNamespace(remote=SimpleNamespace(name='', ip='10.0.0.1')))
    assert site.access_line(exchange) == '10.0.0.1'


def test_the_format_may_change_on_the_instance_and_on_the_class(root):
    class Own(LogManager):
        access_log_format = '{s}'

    manager = Own(logger_root=root)
    exchange = make_exchange()
    assert manager.access_line(exchange) == '200'
    Own.access_log_format = '{h}'
    assert manager.access_line(exchange) == '127.0.0.1'
    manager.access_log_format = '{b}'
    assert manager.access_line(exchange) == '12'
    del manager.access_log_format
    assert manager.access_line(exchange) == '127.0.0.1'


@pytest.mark.parametrize(
    ('source', 'error'),
    [
        ('{nope}', KeyError),
        ('{q} {h:d}', KeyError),
        ('{h:{nope}}', KeyError),
        ('{}', IndexError),
        ('{0}', IndexError),
        ('{h', ValueError),
        ('h}', ValueError),
        ('{h:d}', ValueError),
    ],
)
def test_a_bad_format_writes_a_traceback_to_the_error_log_instead(site, errors, accesses, source, error):
    site.access_log_format = source
    site.access(make_exchange())
    site.access(make_exchange())
    assert accesses.lines == []
    assert [record.exc_info[0] for record in errors.records] == [error, error]
    assert {record.levelno for record in errors.records} == {logging.ERROR}
    assert repr(source) in errors.lines[0]
    site.access_log_format = '{h}'
    site.access(make_exchange())
    assert accesses.lines == ['127.0.0.1']


def test_an_unknown_atom_is_named_with_the_known_ones(site):
    site.access_log_format = '{nope}'
    with pytest.raises(KeyError, match=r"no atom 'nope'; the atoms are h, l, u, t, r, s, b, f, a, o, i, z"):
        site.access_line(make_exchange())


def test_an_atom_that_fails_leaves_the_request_alone(site, errors, accesses):
    site.access(SimpleNamespace(request=None, response=None))
    assert accesses.lines == []
    assert errors.records[0].exc_info[0] is AttributeError


def test_access_reads_the_current_exchange(site, accesses, enter):
    enter(make_exchange(status=b'201 Created'))
    site.access_log_format = '{s}'
    site.access()
    assert accesses.lines == ['201']


def test_access_prefers_the_exchange_it_is_given(site, accesses, enter):
    enter(make_exchange(status=b'201 Created'))
    site.access_log_format = '{s}'
    site.access(make_exchange(status=b'500 Internal Server Error'))
    assert accesses.lines == ['500']


def test_access_writes_nothing_below_the_level(site, accesses):
    site.access_log.setLevel(logging.WARNING)
    site.access(make_exchange())
    assert accesses.lines == []


def test_filters_of_the_logger_see_the_access_record(site, accesses):
    site.access_log.addFilter(lambda record: '/health' not in record.getMessage())
    site.access(make_exchange(request_line='GET /health HTTP/1.1'))
    site.access(make_exchange())
    assert len(accesses.lines) == 1


def test_a_logger_of_another_class_is_called_by_its_log_method(site, root):
    class Own(logging.Logger):
        def log(self, level, msg, *args, **kwargs):
            written.append((level, msg))

    written = []
    site.access_log = Own('own', logging.INFO)
    site.access_log_format = '{s}'
    site.access(make_exchange())
    assert written == [(logging.INFO, '200')]


@pytest.mark.parametrize(
    ('status', 'sent', 'facts'),
    [
        (b'200 OK', {'Content-Length': '5'}, ('200', '5')),
        (b'404 Nicht gefunden \xfc', {}, ('404', '-')),
        (None, {}, ('-', '-')),
    ],
)
def test_response_facts(status, sent, facts):
    assert response_facts(make_exchange(status=status, sent=sent)) == facts


def test_response_facts_of_a_response_not_finalized():
    assert response_facts(SimpleNamespace(response=SimpleNamespace(headers={}))) == ('-', '-')


# -- wants_access ------------------------------------------------------------------------------------------------------


def test_no_access_line_is_wanted_without_handlers(site, root):
    isolate(root)
    assert not site.wants_access()
    assert not LogManager('shop', site.logger_root).wants_access()


@pytest.mark.parametrize('name', ['access.shop', 'access', ''])
def test_an_access_line_is_wanted_by_a_handler_anywhere_above(site, root, name):
    isolate(root)
    app = LogManager('shop', root)
    logger = logging.getLogger(f'{root}.{name}'.rstrip('.'))
    handler = Collector()
    logger.addHandler(handler)
    assert app.wants_access()
    handler.setLevel(logging.WARNING)
    assert not app.wants_access()
    handler.setLevel(logging.INFO)
    assert app.wants_access()
    logger.removeHandler(handler)
    assert not app.wants_access()


def test_an_access_line_is_wanted_by_a_handler_of_the_root_logger(root):
    site = LogManager(logger_root=root)
    top = logging.getLogger()
    before, top.handlers = top.handlers, []
    try:
        assert not site.wants_access()
        top.handlers = [Collector()]
        assert site.wants_access()
        logging.getLogger(root).propagate = False
        assert not site.wants_access()
    finally:
        top.handlers = before


def test_a_parent_is_asked_when_the_own_handler_wants_less(site, root):
    isolate(root)
    app = LogManager('shop', site.logger_root)
    app.access_log.addHandler(Collector(logging.ERROR))
    assert not app.wants_access()
    site.access_log.addHandler(Collector())
    assert app.wants_access()


def test_no_access_line_is_wanted_beyond_a_logger_that_does_not_propagate(site, accesses):
    app = LogManager('shop', site.logger_root)
    assert app.wants_access()
    app.access_log.propagate = False
    assert not app.wants_access()


def test_no_access_line_is_wanted_when_levels_forbid(site, accesses):
    site.access_log.setLevel(logging.ERROR)
    assert not site.wants_access()
    site.access_log.setLevel(logging.INFO)
    site.access_log.disabled = True
    assert not site.wants_access()
    site.access_log.disabled = False
    logging.disable(logging.INFO)
    try:
        assert not site.wants_access()
    finally:
        logging.disable(logging.NOTSET)
    assert site.wants_access()


def test_a_logger_outside_the_hierarchy_may_take_the_place(site):
    site.access_log = logging.Logger('alone')
    assert not site.wants_access()
    site.access_log.addHandler(Collector())
    assert site.wants_access()


def test_an_overridden_access_is_always_wanted(root):
    class Counting(LogManager):
        def access(self, exchange=None):
            pass

    class Derived(Counting):
        pass

    class Deciding(LogManager):
        def access(self, exchange=None):
            pass

        def wants_access(self):
            return False

    assert Counting(logger_root=root).wants_access()
    assert Derived(logger_root=root).wants_access()
    assert not Deciding(logger_root=root).wants_access()


def test_an_access_put_on_the_instance_is_always_wanted(site, root):
    isolate(root)
    other = LogManager('shop', site.logger_root)
    site.access = lambda exchange=None: None
    assert site.wants_access()
    assert not other.wants_access()


# -- Built-in handlers -------------------------------------------------------------------------------------------------


def test_screen_writes_errors_to_stderr_and_accesses_to_stdout(site, capsys):
    site.screen = True
    site.error('to stderr')
    site.access(make_exchange())
    out, err = capsys.readouterr()
    assert err.endswith(' to stderr\n')
    assert out.startswith('127.0.0.1 - - [')
    assert (out.count('\n'), err.count('\n')) == (1, 1)
    site.screen = False
    site.error('nowhere')
    assert capsys.readouterr() == ('', '')


def test_screen_takes_any_truth_value_and_adds_one_handler_each(site):
    for wanted in ('yes', 1, True):
        site.screen = wanted
        assert site.screen is True
        assert len(site.error_log.handlers) == len(site.access_log.handlers) == 1
    site.screen = None
    assert site.screen is False


def test_screen_is_true_if_either_handler_exists(site):
    site.screen = True
    site.error_log.removeHandler(site.error_log.handlers[0])
    assert site.screen
    site.access_log.removeHandler(site.access_log.handlers[0])
    assert not site.screen


def test_builtin_handlers_bear_their_kind_and_leave_those_of_users_alone(site, errors, tmp_path):
    site.screen = True
    site.error_file = str(tmp_path / 'error.log')
    site.wsgi = True
    kinds = [getattr(handler, '_cpbuiltin', None) for handler in site.error_log.handlers]
    assert kinds == [None, 'screen', 'file', 'wsgi']
    site.screen = site.wsgi = False
    site.error_file = ''
    assert site.error_log.handlers == [errors]


def test_files_are_appended_to_by_absolute_path(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'error.log').write_text('before\n')
    site.error_file = 'error.log'
    site.access_file = tmp_path / 'access.log'
    assert site.error_file == str(tmp_path / 'error.log')
    assert site.access_file == str(tmp_path / 'access.log')
    site.error('caf\xe9')
    site.access(make_exchange())
    text = (tmp_path / 'error.log').read_text('utf-8')
    assert text.startswith('before\n[')
    assert text.endswith(' caf\xe9\n')
    assert (tmp_path / 'access.log').read_text().count('\n') == 1


def test_the_same_path_leaves_the_handler_and_another_replaces_it(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site.error_file = 'one.log'
    first = site.error_log.handlers[0]
    site.error_file = tmp_path / 'one.log'
    assert site.error_log.handlers == [first]
    site.error_file = 'two.log'
    assert first not in site.error_log.handlers
    assert first.stream is None
    assert site.error_file == str(tmp_path / 'two.log')
    site.error_file = None
    assert site.error_log.handlers == []
    assert site.error_file == ''


def test_a_path_that_cannot_be_opened_keeps_the_old_file(site, tmp_path):
    site.access_file = tmp_path / 'access.log'
    with pytest.raises(OSError, match='missing'):
        site.access_file = tmp_path / 'missing' / 'access.log'
    assert site.access_file == str(tmp_path / 'access.log')
    site.access(make_exchange())
    assert (tmp_path / 'access.log').read_text().count('\n') == 1


def test_reopen_files_follows_a_rotation(site, tmp_path):
    site.error_file = tmp_path / 'error.log'
    mine = logging.FileHandler(tmp_path / 'mine.log', mode='w', encoding='utf-8')
    site.access_log.addHandler(mine)
    lazy = logging.FileHandler(tmp_path / 'lazy.log', delay=True)
    site.access_log.addHandler(lazy)
    site.error('old')
    site.access(make_exchange())
    lazy_stream, lazy.stream = lazy.stream, None
    (tmp_path / 'error.log').rename(tmp_path / 'error.log.1')
    site.reopen_files()
    lazy_stream.close()
    site.error('new')
    site.access(make_exchange())
    assert (tmp_path / 'error.log.1').read_text().endswith(' old\n')
    assert (tmp_path / 'error.log').read_text().endswith(' new\n')
    assert (tmp_path / 'mine.log').read_text().count('\n') == 2


def test_the_wsgi_handler_writes_to_the_errors_stream_of_the_request(site, enter):
    stream = io.StringIO()
    site.wsgi = 'yes'
    assert site.wsgi is True
    assert isinstance(site.error_log.handlers[0], WSGIErrorHandler)
    site.wsgi = True
    assert len(site.error_log.handlers) == 1
    enter(make_exchange(wsgi_environ={'wsgi.errors': stream}))
    site.error('seen')
    assert stream.getvalue().endswith(' seen\n')
    site.wsgi = False
    assert site.wsgi is False


def test_the_wsgi_handler_writes_nowhere_outside_a_wsgi_request(site, enter, capsys):
    site.wsgi = True
    site.error('no request')
    enter(make_exchange(wsgi_environ=None))
    site.error('not WSGI')
    enter(make_exchange(wsgi_environ={}))
    site.error('no stream')
    assert capsys.readouterr() == ('', '')


def test_a_broken_errors_stream_does_not_break_the_request(site, enter, capsys):
    site.wsgi = True
    enter(make_exchange(wsgi_environ={'wsgi.errors': object()}))
    site.error('lost')
    assert 'Logging error' in capsys.readouterr().err


# -- Files that are moved ----------------------------------------------------------------------------------------------


def test_a_file_that_is_moved_or_deleted_is_opened_anew(site, tmp_path):
    path = tmp_path / 'error.log'
    site.error_file = path
    site.error('one')
    path.rename(tmp_path / 'error.log.1')
    site.error('two')
    assert (tmp_path / 'error.log.1').read_text().endswith(' one\n')
    assert path.read_text().endswith(' two\n')
    path.unlink()
    site.error('three')
    assert path.read_text().count('\n') == 1


def test_no_line_is_lost_while_files_are_moved_under_load(site, tmp_path):
    path = tmp_path / 'access.log'
    site.access_file = path
    site.access_log_format = '{o}'
    threads, lines, done = 4, 500, threading.Event()

    def write(number):
        for line in range(lines):
            site.access(make_exchange(headers={'Host': f'{number}-{line}'}))

    def rotate():
        moved = 0
        while not done.is_set() or not moved:
            if path.exists():
                moved += 1
                path.rename(tmp_path / f'access.log.{moved}')
            done.wait(0.002)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    rotator = threading.Thread(target=rotate)
    for thread in [*writers, rotator]:
        thread.start()
    for thread in writers:
        thread.join(60)
    done.set()
    rotator.join(60)
    files = list(tmp_path.glob('access.log*'))
    assert len(files) > 1
    found = sorted(line for file in files for line in file.read_text().splitlines())
    assert found == sorted(f'{number}-{line}' for number in range(threads) for line in range(lines))


def test_a_file_that_cannot_be_opened_anew_costs_the_line_and_comes_back(site, tmp_path, capsys):
    folder = tmp_path / 'logs'
    folder.mkdir()
    site.error_file = folder / 'error.log'
    (folder / 'error.log').unlink()
    folder.rmdir()
    site.error('lost')
    site.error('lost too')
    assert 'FileNotFoundError' in capsys.readouterr().err
    folder.mkdir()
    site.error('back')
    assert (folder / 'error.log').read_text().endswith(' back\n')


# -- JSON --------------------------------------------------------------------------------------------------------------


def make_served(site, **attributes):
    """Give an exchange of an application whose log is `site`, with what JSON tells of a request."""
    known = {'method': 'GET', 'script_name': '/shop', 'path_info': '/p\xe4ge', 'unique_id': 'abc'}
    return make_exchange(app=SimpleNamespace(log=site), **{**known, **attributes})


def records_of(path):
    """Give the objects of a file, each of which has to be a line of its own in printable ASCII."""
    data = path.read_bytes()
    assert data.endswith(b'\n')
    lines = data[:-1].split(b'\n')
    assert all(0x20 <= byte < 0x7F for line in lines for byte in line)
    return [json.loads(line) for line in lines]


def test_json_tells_an_access_by_its_parts(site, tmp_path):
    site.json = True
    site.access_file = tmp_path / 'access.json'
    site.access_log_format = '{r}'
    site.access(make_served(site, login='ann'))
    site.access(make_served(site, unique_id='def'))
    first, second = records_of(tmp_path / 'access.json')
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z', first.pop('time'))
    assert first == {
        'level': 'INFO',
        'logger': f'{site.logger_root}.access',
        'message': 'GET /page HTTP/1.1',
        'request_id': 'abc',
        'method': 'GET',
        'path': '/shop/p\xe4ge',
        'remote': '127.0.0.1',
        'user': 'ann',
        'status': 200,
        'bytes': 12,
    }
    assert second['request_id'] == 'def'
    assert 'user' not in second


def test_what_json_does_not_know_of_a_response_is_null(site, tmp_path):
    site.json = True
    site.access_file = tmp_path / 'access.json'
    site.access(make_served(site, status=None, sent={}))
    (record,) = records_of(tmp_path / 'access.json')
    assert (record['status'], record['bytes']) == (None, None)


def test_json_tells_errors_with_context_traceback_and_request(site, tmp_path, enter):
    site.json = True
    site.error_file = tmp_path / 'error.json'
    site.error('outside')
    enter(make_served(site))
    try:
        raise ValueError('two\nlines')
    except ValueError:
        site.error('failed\nhere', 'HTTP', logging.ERROR, traceback=True)
    outside, failed = records_of(tmp_path / 'error.json')
    assert {name: outside[name] for name in outside if name != 'time'} == {
        'level': 'INFO',
        'logger': f'{site.logger_root}.error',
        'message': 'outside',
    }
    assert (failed['level'], failed['message'], failed['context']) == ('ERROR', 'failed\nhere', 'HTTP')
    assert (failed['request_id'], failed['path']) == ('abc', '/shop/p\xe4ge')
    assert failed['exception'].startswith('Traceback (most recent call last):')
    assert failed['exception'].endswith('ValueError: two\nlines')
    assert 'status' not in failed


def test_json_is_one_line_of_printable_ascii_whatever_it_holds(site, tmp_path, enter):
    nasty = ''.join(map(chr, range(0x250))) + '\u2028\u2029\u202e\ud800%s{h}\U0001f600'
    site.json = True
    site.error_file = tmp_path / 'error.json'
    site.access_file = tmp_path / 'access.json'
    exchange = enter(
        make_served(site, method=nasty, path_info=nasty, login=nasty, remote=SimpleNamespace(name='', ip=nasty))
    )
    site.error(nasty, nasty)
    site.access(exchange)
    (error,) = records_of(tmp_path / 'error.json')
    (access,) = records_of(tmp_path / 'access.json')
    whole = nasty.replace('\ud800', '\\ud800')
    assert error['message'] == error['context'] == error['method'] == access['user'] == whole


@pytest.mark.parametrize('counted', [True, False])
def test_json_tells_the_duration_where_statistics_are_kept(client, counted, tmp_path):
    class Root:
        def index(self):
            return 'page'

        index.exposed = True

    app = client.mount(Root(), '', {'/': {'tools.cpstats.on': counted, 'log.json': True}})
    app.log.access_file = tmp_path / 'access.json'
    assert client.get('/').status == 200
    app.log.access_file = ''
    (record,) = records_of(tmp_path / 'access.json')
    assert (record['status'], record['bytes'], record['path']) == (200, 4, '/')
    assert ('duration_ms' in record) == counted
    assert not counted or 0 < record['duration_ms'] < 60_000


def test_json_may_be_switched_while_handlers_are_there(site, tmp_path):
    site.access_file = tmp_path / 'access.log'
    site.access_log_format = '{s}'
    site.screen = True
    mine = Collector()
    site.access_log.addHandler(mine)
    site.json = 1
    assert site.json is True
    site.access(make_served(site))
    site.json = False
    site.access(make_served(site))
    first, second = (tmp_path / 'access.log').read_text().splitlines()
    assert json.loads(first)['status'] == 200
    assert second == '200'
    assert mine.formatter is None
    assert mine.lines == ['200', '200']


def test_the_screen_speaks_json(site, capsys):
    site.json = True
    site.screen = True
    site.error('told')
    assert json.loads(capsys.readouterr().err)['message'] == 'told'


def test_a_request_that_cannot_be_read_leaves_the_record(site, tmp_path, enter):
    site.json = True
    site.error_file = tmp_path / 'error.json'
    enter(SimpleNamespace(app=SimpleNamespace(log=site)))
    site.error('told')
    (record,) = records_of(tmp_path / 'error.json')
    assert record['message'] == 'told'
    assert 'AttributeError' in record['request_error']


def test_the_formatter_serves_handlers_of_any_logger(root, enter):
    formatter = JSONFormatter()
    record = logging.LogRecord('shop', logging.WARNING, __file__, 1, '%s of %d', ('one', 2), None)
    assert json.loads(formatter.format(record))['message'] == 'one of 2'
    enter(make_served(None))
    told = json.loads(formatter.format(record))
    assert (told['request_id'], told['logger']) == ('abc', 'shop')


def test_an_access_that_is_not_to_be_logged_is_not(site, accesses):
    exchange = make_exchange()
    exchange.unlogged = True
    site.access(exchange)
    assert accesses.lines == []


# -- Request ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('trusted', 'ip', 'sent', 'taken'),
    [
        (None, '10.0.0.1', 'given', False),
        ('', '10.0.0.1', 'given', False),
        ('10.0.0.0/8', '10.0.0.1', 'given', True),
        (['192.0.2.1', '10.0.0.1'], '10.0.0.1', 'given', True),
        ('10.0.0.1, ::1', '::1', 'given', True),
        ('10.0.0.1', '::ffff:10.0.0.1', 'given', True),
        ('10.0.0.1', '10.0.0.2', 'given', False),
        ('10.0.0.1', 'nonsense', 'given', False),
        ('unix', '', 'given', True),
        ('10.0.0.1', '', 'given', False),
        ('*', 'nonsense', 'given', True),
        ('*', '10.0.0.1', 'a' * 128, True),
        ('*', '10.0.0.1', 'a' * 129, False),
        ('*', '10.0.0.1', 'a b', False),
        ('*', '10.0.0.1', 'a"b', False),
        ('*', '10.0.0.1', 'a\n', False),
        ('*', '10.0.0.1', '', False),
        ('*', '10.0.0.1', None, False),
    ],
)
def test_the_id_of_a_request_is_that_of_a_trusted_peer_or_its_own(site, trusted, ip, sent, taken):
    site.request_id_from = trusted
    site.access_log_format = '{i}'
    headers = {} if sent is None else {'X-Request-Id': sent}
    exchange = make_served(site, headers=headers, remote=SimpleNamespace(name='', ip=ip))
    assert site.access_line(exchange) == (sent if taken else 'abc')


def test_the_peer_counts_and_not_whom_a_proxy_tells_of(site):
    site.request_id_from = '10.0.0.1'
    exchange = make_served(site, headers={'X-Request-Id': 'given'}, remote=SimpleNamespace(name='', ip='10.0.0.1'))
    exchange.head = SimpleNamespace(remote=SimpleNamespace(ip='198.51.100.7'))
    assert request_id(exchange) == 'abc'


def test_an_application_that_says_nothing_of_ids_follows_its_site(site, root):
    site.request_id_from = '*'
    own = LogManager('shop', root)
    exchange = make_served(own, headers={'X-Request-Id': 'given'})
    exchange.site = SimpleNamespace(log=site)
    assert request_id(exchange) == 'given'
    own.request_id_from = ()
    assert request_id(exchange) == 'abc'


def test_a_source_that_is_none_is_refused_at_once(site):
    with pytest.raises(ValueError, match='home'):
        site.request_id_from = 'home'
    assert site.request_id_from is None


# -- GlobalLog ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(root):
    """A site's GlobalLog and an application's log, each with a collector on its error and access logger."""
    whole, own = GlobalLog(logger_root=root), LogManager('shop', root)
    own.access_log.propagate = own.error_log.propagate = False
    collectors = []
    for manager in (whole, own):
        collector = Collector()
        manager.error_log.addHandler(collector)
        manager.access_log.addHandler(collector)
        manager.access_log_format = '{s}'
        collectors.append(collector)
    return whole, own, *collectors


def test_outside_a_request_the_global_log_writes_to_the_site(pair, outside):
    whole, _, of_site, of_app = pair
    whole('hello')
    whole.error('there')
    whole.access()
    assert [line[-5:] for line in of_site.lines] == ['hello', 'there', '-']
    assert of_app.lines == []


def test_during_a_request_the_global_log_writes_to_the_application(pair, enter):
    whole, own, of_site, of_app = pair
    enter(make_exchange(app=SimpleNamespace(log=own)))
    whole('hello', severity=logging.WARNING)
    whole.access()
    assert [line[-5:] for line in of_app.lines] == ['hello', '200']
    assert of_app.records[0].levelno == logging.WARNING
    assert of_site.lines == []


def test_error_of_the_global_log_is_always_the_site(pair, enter):
    whole, own, of_site, of_app = pair
    enter(make_exchange(app=SimpleNamespace(log=own)))
    whole.error('here')
    assert of_site.lines[0].endswith(' here')
    assert of_app.lines == []


def test_the_global_log_routes_by_the_exchange_it_is_given(pair, outside):
    whole, own, of_site, of_app = pair
    whole.access(make_exchange(app=SimpleNamespace(log=own)))
    assert of_app.lines == ['200']
    assert of_site.lines == []


@pytest.mark.parametrize('log', ['itself', None])
def test_an_application_without_a_log_of_its_own_uses_the_site(pair, enter, log):
    whole, _, of_site, _ = pair
    enter(make_exchange(app=SimpleNamespace(log=whole if log else None)))
    whole('hello')
    whole.access()
    assert [line[-5:] for line in of_site.lines] == ['hello', '200']


def test_the_global_log_wants_lines_only_for_handlers(root):
    isolate(root)
    whole = GlobalLog(logger_root=root)
    assert not whole.wants_access()
    whole.screen = True
    assert whole.wants_access()
