"""The command line in processes of its own: what it prints and its exit code; and the pages it finds, in process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from live import ROOT

import cpadapter
from cpadapter.commands.demo import Demo, config
from cpadapter.commands.origins import Origins
from cpadapter.commands.pages import find_page, hooks_of, pages_of, tools_of
from cpadapter.daemon import main

PAGE = ROOT / 'docs' / 'command.md'
FILES = re.compile(r'^`(\S+\.(?:py|conf))`:\n\n```\w*\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r'^```console\n\$ cpadapter ([^\n]*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)

SHOP = """
import cpadapter

class Shop:
    @cpadapter.expose
    def index(self):
        return 'shop'

if __name__ != '__main__':
    cpadapter.tree.mount(Shop())
"""


def run(*words, cwd):
    """Give what a command line does, as a completed process with text."""
    return subprocess.run(
        [sys.executable, '-W', 'error', '-m', 'cpadapter', *words],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'shop.py').write_text(SHOP)
    return tmp_path


# ---------------------------------------------------------------------- what the documentation shows


@pytest.mark.parametrize(
    ('words', 'output'), SHOWN.findall(PAGE.read_text(encoding='utf-8')), ids=lambda text: text[:30]
)
def test_the_output_in_the_documentation_is_the_real_one(words, output, tmp_path):
    for name, text in FILES.findall(PAGE.read_text(encoding='utf-8')):
        (tmp_path / name).write_text(text)
    done = run(*words.split(), cwd=ROOT if 'examples/wiki' in words else tmp_path)
    assert done.stdout + done.stderr == output
    assert done.returncode == (1 if words.startswith('check') else 0)


def test_the_documentation_shows_a_check_a_tree_and_a_config():
    assert {words.split()[0] for words, _ in SHOWN.findall(PAGE.read_text(encoding='utf-8'))} == {
        'check',
        'tree',
        'config',
    }


# ---------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ('words', 'conf', 'code', 'said'),
    [
        ('-i nothere', '', 1, "There is no module 'nothere'"),
        ('serve nothere:app', '', 1, "There is no module 'nothere'"),
        ('serve shop:nothing', '', 1, "The module 'shop' has no attribute 'nothing'"),
        ('serve not/here', '', 1, "There is no file or folder 'not/here'"),
        ('serve .', '', 1, 'is no package'),
        ('-i broken', '', 1, 'broken cannot be imported: ZeroDivisionError: division by zero (broken.py, line 2).'),
        ('-i lacking', '', 1, "lacking cannot be imported: ModuleNotFoundError: No module named 'lacked'"),
        ('-i unparsable', '', 1, 'unparsable cannot be imported: SyntaxError'),
        ('-c nothere.conf -i shop', '', 1, "There is no config file 'nothere.conf'"),
        ('-c site.conf -i shop', 'a = 1', 1, 'Config file site.conf: File contains no section headers'),
        ('-c site.conf -i shop', '[global]\na = 1 +', 1, "option: 'a', value: '1 +'"),
        ('-c site.conf -i shop', "[global]\nserver.socket_host = ''", 1, "Use '0.0.0.0' instead"),
        ('-c site.conf -i shop', "[global]\nserver.socket_port = '80'", 1, "server.socket_port = '80' is no number"),
        ('-c site.conf -i shop', '[global]\nengine.autorelod.on = True', 1, "Did you mean 'autoreload'?"),
        ('-c site.conf -i shop', "[global]\nserver.ssl_certificate = 'no.pem'", 1, "'no.pem' cannot be read: No such"),
        ('-c site.conf -i shop', "[global]\nserver.ssl_certificate = 'shop.py'", 1, 'are no certificate and its key'),
        ('-e prodction -i shop', '', 1, "Did you mean 'production'?"),
        ('-i shop --server unicorn', '', 1, "Did you mean 'gunicorn'?"),
        ('-i shop --bind 127.0.0.1:http', '', 2, 'the port is a number'),
        ('-i shop --user nobody-of-that-name', '', 1, 'there is no such user'),
        ('-i shop -p no/pid', '', 1, "The pid file 'no/pid' cannot be written"),
        ('-i shop -f -s', '', 1, 'You may only specify one of the cgi, fastcgi, and scgi options.'),
        ('config shop', '', 2, 'a path begins with a slash'),
        ('tree', '', 1, 'No application is mounted'),
        ('shop:application', '', 2, 'cpadapter serve shop:application'),
    ],
)
def test_what_is_wrong_is_told_in_one_line(folder, words, conf, code, said):
    (folder / 'site.conf').write_text(conf)
    (folder / 'broken.py').write_text('import cpadapter\n1 / 0\n')
    (folder / 'lacking.py').write_text('import lacked\n')
    (folder / 'unparsable.py').write_text('def\n')
    done = run(*words.split(), cwd=folder)
    assert said in done.stderr
    assert done.stderr.count('\n') == 1, done.stderr
    assert (done.stdout, done.returncode) == ('', code)


def test_a_server_that_is_not_installed_is_named_with_its_extra(folder):
    (folder / 'waitress.py').write_text('raise ImportError("not here")\n')
    done = run('-i', 'shop', '-e', 'production', '--server', 'waitress', '--bind', '127.0.0.1:0', cwd=folder)
    assert done.stderr.count('\n') == 1, done.stderr
    assert 'pip install "cpadapter[waitress]"' in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize('environment', ['', '-e production'])
def test_a_port_in_use_is_told_once_with_and_without_a_screen(folder, environment):
    import socket

    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        sock.listen()
        done = run('-i', 'shop', '--bind', f'127.0.0.1:{sock.getsockname()[1]}', *environment.split(), cwd=folder)
    printed = done.stdout + done.stderr
    assert printed.count('the port is in use. Stop the program that listens there') == 1
    assert 'Traceback' not in printed
    assert done.returncode == 1


def test_traceback_shows_where_an_error_comes_from(folder):
    (folder / 'broken.py').write_text('1 / 0\n')
    done = run('serve', 'broken', '--traceback', cwd=folder)
    assert 'Traceback' in done.stderr
    assert 'ZeroDivisionError' in done.stderr
    assert done.returncode == 1


def test_a_wrong_option_gives_the_usage():
    with pytest.raises(SystemExit) as ended:
        main(['-z'])
    assert ended.value.code == 2


def test_no_words_at_all_give_the_help(capsys):
    assert main([]) == 2
    assert 'cpadapter [-h]' in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(['--version'])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f'cpadapter {cpadapter.__version__}\n'


# ---------------------------------------------------------------------- check, tree, config


def test_a_check_that_finds_nothing_says_so(folder):
    done = run('check', 'shop', cwd=folder)
    assert (done.stdout, done.stderr, done.returncode) == ('Nothing found.\n', '', 0)


def test_a_check_starts_no_engine(folder):
    (folder / 'shop.py').write_text(SHOP + "\ncpadapter.engine.subscribe('start', lambda: print('started'))\n")
    assert 'started' not in run('check', 'shop', cwd=folder).stdout
    assert 'started' not in run('tree', 'shop', cwd=folder).stdout


def test_a_tree_as_json_has_all_config_with_its_origin(folder):
    (folder / 'site.conf').write_text('[global]\ntools.gzip.on = True\n\n[/]\nresponse.timeout = 5\n')
    done = run('tree', 'shop.py', '-c', 'site.conf', '--json', cwd=folder)
    page = json.loads(done.stdout)[0]
    assert (page['url'], page['handler'], page['signature']) == ('/', 'shop.Shop.index', '()')
    assert page['config']['tools.gzip.on'] == {'value': True, 'origin': '[global] (site.conf, line 2)'}
    assert page['config']['response.timeout'] == {'value': 5, 'origin': '[/] (site.conf, line 5)'}
    gzip = next(tool for tool in page['tools'] if tool['name'] == 'tools.gzip')
    assert gzip['hooks'] == [{'point': 'before_finalize', 'priority': 80}]


def test_paths_are_put_first_and_the_last_given_comes_first(tmp_path):
    for name in ('one', 'two'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'shop.py').write_text(SHOP.replace("'shop'", repr(name)).replace('Shop', name.title()))
    done = run('tree', '-P', 'one', '--Path=two', '-i', 'shop', cwd=tmp_path)
    assert 'shop.Two.index' in done.stdout


@pytest.fixture
def site():
    return cpadapter.Site('commands')


def rows(site):
    return [(f'{page.method} {page.url}'.strip(), page.name.rpartition('.')[2], page.colour) for page in pages_of(site)]


def test_pages_of_every_kind_are_found(site):
    class Things:
        exposed = True

        def GET(self, name):
            pass

        async def PUT(self, name):
            pass

    @cpadapter.popargs('year')
    class Archive:
        @cpadapter.expose
        def index(self, year=None):
            pass

    class Root:
        things = Things()
        archive = Archive()

        def __init__(self):
            self.above = self

        @property
        def computed(self):
            raise AssertionError('a property is not asked for')

        @cpadapter.expose
        def index(self):
            pass

        @cpadapter.expose
        async def later(self):
            pass

        @cpadapter.expose
        def default(self, *path):
            pass

        @cpadapter.websocket
        async def talk(self, ws):
            pass

        def hidden(self):
            pass

        hidden.config = {}

    def graft(environ, start_response):
        pass

    dispatcher = cpadapter.dispatch.MethodDispatcher()
    site.tree.mount(Root(), '/app', {'/things': {'request.dispatch': dispatcher}, '/files': {'response.stream': True}})
    site.tree.graft(graft, '/other')
    assert rows(site) == [
        ('/app/archive/', 'index', 'plain'),
        ('/app/*', 'default', 'plain'),
        ('/app/', 'index', 'plain'),
        ('/app/later', 'later', 'async'),
        ('/app/talk', 'talk', 'websocket'),
        ('GET /app/things', 'GET', 'plain'),
        ('PUT /app/things', 'PUT', 'async'),
        ('/app/archive/*', 'by _cp_dispatch: what follows is known only to it', ''),
        ('/app/files/*', 'default', 'plain'),
        ('/other/*', 'graft', ''),
    ]


def test_routes_are_found(site):
    pytest.importorskip('routes')

    class Cities:
        def show(self, name):
            pass

    dispatcher = cpadapter.dispatch.RoutesDispatcher()
    dispatcher.connect('cities', '/cities/{name}', Cities(), action='show')
    site.tree.mount(None, '/app', {'/': {'request.dispatch': dispatcher}})
    assert rows(site) == [('/app/cities/{name}', 'show', 'plain')]


def test_a_node_that_is_in_the_tree_twice_is_shown_at_both_places(site):
    class Leaf:
        @cpadapter.expose
        def page(self):
            pass

    class Root:
        pass

    root = Root()
    root.one = root.two = Leaf()
    site.tree.mount(root, '/app')
    assert [row[0] for row in rows(site)] == ['/app/one/page', '/app/two/page']


def test_hooks_that_are_no_tools_are_told_apart(site):
    def hook():
        pass

    class Root:
        @cpadapter.expose
        @cpadapter.config(**{'hooks.before_handler': hook, 'tools.expires.on': True, 'tools.expires.secs': 60})
        def index(self):
            pass

    app = site.tree.mount(Root())
    page = find_page(app, '/')
    assert [(found['callback'].rpartition('.')[2], found['priority']) for found in hooks_of(page)] == [('hook', 50)]
    expires = next(tool for tool in tools_of(page) if tool['name'] == 'tools.expires')
    assert expires == {
        'name': 'tools.expires',
        'settings': {'secs': 60},
        'hooks': [{'point': 'before_finalize', 'priority': 50}],
        'note': None,
    }


def test_all_that_is_wrong_with_a_page_is_found_at_once(site):
    class Root:
        @cpadapter.expose
        @cpadapter.config(**{'tools.gzip.on': True, 'tools.gzip.levl': 1, 'tools.nothing.on': True})
        def index(self):
            pass

    page = find_page(site.tree.mount(Root()), '/')
    assert len(page.problems) == 2
    assert page.plan is not None


def test_a_value_of_another_type_is_found_after_it_was_set(site):
    site.config.update({'server.thread_pool': '20'})
    with pytest.warns(UserWarning, match="'server.thread_pool'.*'str', which does not match the expected type 'int'"):
        site.checker()


def test_the_place_of_a_static_folder_is_shown_with_its_tool(site, tmp_path):
    class Root:
        pass

    static = {'tools.staticdir.on': True, 'tools.staticdir.dir': str(tmp_path)}
    site.tree.mount(Root(), '/app', {'/static': static})
    (page,) = pages_of(site)
    assert (page.url, page.name) == ('/app/static/*', 'no page handler; tools may answer')
    tool = next(tool for tool in tools_of(page) if tool['name'] == 'tools.staticdir')
    assert tool['hooks'] == [{'point': 'before_handler', 'priority': 50}]


def test_every_kind_of_origin_is_told(site, tmp_path):
    class Base:
        _cp_config = {'tools.a': 1}

    class Root(Base):
        @cpadapter.expose
        @cpadapter.config(b=2)
        def index(self):
            pass

    file = tmp_path / 'site.conf'
    file.write_text('[global]\nc = 3\nrequest.debug = True\n\n[/]\nd = 4\n')
    app = site.tree.mount(Root(), '', {'/': {'e': 5}})
    site.config.update(str(file))
    app.merge(str(file))
    site.config.update({'f': 6})
    site.config.update({'environment': 'production'})
    page = find_page(app, '/')
    origins = Origins(site, [str(file)], (), 'production').of_request(app, '/', page.confs, page.target)
    assert {key: origins[key] for key in 'bcdef'} == {
        'b': f'_cp_config of {Root.index.__qualname__}',
        'c': '[global] (site.conf, line 2)',
        'd': '[/] (site.conf, line 6)',
        'e': '[/] in code',
        'f': 'global config, set in code',
    }
    assert origins['tools.a'] == f'_cp_config of {Base.__qualname__}'
    assert origins['environment'] == 'command line'
    assert origins['request.debug'] == "environment 'production'"
    assert origins['tools.encode.on'] == 'default'


# ---------------------------------------------------------------------- demo


@pytest.mark.parametrize(
    ('path', 'status', 'text'),
    [
        ('/', 200, 'cpadapter works'),
        ('/greet?name=%3Cb%3E', 200, 'Hello, &lt;b&gt;!'),
        ('/numbers', 200, '\n100\n'),
        ('/later', 200, 'awaited'),
        ('/teapot', 418, 'No coffee here.'),
    ],
)
def test_the_pages_of_the_demo_answer(client, path, status, text):
    client.mount(Demo(), '', config)
    answer = client.get(path)
    assert answer.status == status
    assert text in answer.text


def test_the_links_of_the_demo_lead_somewhere(client):
    client.mount(Demo(), '/demo', config)
    for path in re.findall(r'href="([^"]*)"', client.get('/demo/').text):
        assert client.get(path).status in (200, 418)


def test_importing_the_package_loads_no_command():
    done = run_code('import sys, cpadapter; print([n for n in sys.modules if "commands" in n or n == "argparse"])')
    assert done.stdout.strip() == '[]'
    done = run_code('import cpadapter; print(cpadapter.daemon.start.__name__)')
    assert done.stdout.strip() == 'start'


def run_code(code):
    return subprocess.run(
        [sys.executable, '-W', 'error', '-c', code],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_a_reader_that_has_seen_enough_is_no_error():
    words = [sys.executable, '-W', 'error', '-m', 'cpadapter', 'tree', 'examples/wiki']
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert (told, process.returncode) == (b'', 1)
