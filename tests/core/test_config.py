"""Config: sources, the global config, an application's sections."""

import io
import os
from copy import deepcopy

import pytest

from cpadapter.changes import changes
from cpadapter.core.config import (
    AppConfig,
    Config,
    Section,
    environments,
    load,
    nearest,
    require_sections,
    unknown_key_message,
)
from cpadapter.extension.namespaces import AttributeNamespace, NamespaceSet

DEFAULTS = {
    'tools.log_tracebacks.on': True,
    'tools.log_headers.on': True,
    'tools.trailing_slash.on': True,
    'tools.encode.on': True,
}


@pytest.fixture
def counted():
    """Say by how much the count of changes rose since the last call."""
    last = [changes.count]

    def rose():
        last[0], before = changes.count, last[0]
        return last[0] - before

    return rose


@pytest.fixture
def config():
    return Config()


@pytest.fixture
def handed(config):
    """Give the entries that the namespaces log, server and checker were handed."""
    entries = []
    for name in ('log', 'server', 'checker'):
        config.namespaces[name] = lambda k, v, name=name: entries.append((f'{name}.{k}', v))
    return entries


@pytest.fixture
def conf_file(tmp_path):
    path = tmp_path / 'site.conf'
    path.write_text('[global]\nserver.socket_port = 80\n[/]\na = 1\n')
    return path


# ---------------------------------------------------------------- load


def test_load_copies_a_dict():
    source = {'a': 1}
    assert load(source) == source
    assert load(source) is not source


def test_load_reports_a_file_given_by_name(conf_file):
    seen = []
    wanted = {'global': {'server.socket_port': 80}, '/': {'a': 1}}
    assert load(str(conf_file), seen.append) == wanted
    assert load(conf_file, seen.append) == wanted
    with conf_file.open() as file:
        assert load(file, seen.append) == wanted
    assert seen == [str(conf_file), os.fspath(conf_file)]


def test_load_reads_any_object_with_read():
    class Readable:
        def read(self):
            return '[a]\nx = 1'

    assert load(Readable()) == {'a': {'x': 1}}


@pytest.mark.parametrize('source', [None, 5, [('a', 1)]])
def test_load_names_what_it_cannot_read(source):
    with pytest.raises(TypeError, match=type(source).__name__):
        load(source)


def test_one_load_serves_global_and_application_config(config):
    loaded = load(io.StringIO('[global]\na = 1\n[/]\nb = 2\n'))
    require_sections(loaded)
    app_config = AppConfig()
    config.update(loaded)
    app_config.merge(loaded)
    assert config['a'] == 1
    assert app_config == {'global': {'a': 1}, '/': {'b': 2}}


# ---------------------------------------------------------------- global config


def test_new_config_holds_the_defaults(config):
    assert config == DEFAULTS
    assert Config.defaults == DEFAULTS


def test_update_of_flat_entries_hands_them_to_their_namespaces(config, handed):
    config.update({'log.screen': False, 'plain': 1, 'my.thing': 2})
    assert handed == [('log.screen', False)]
    assert config == {**DEFAULTS, 'log.screen': False, 'plain': 1, 'my.thing': 2}
    config.update({'plain': 2})
    assert handed == [('log.screen', False)]


def test_update_takes_only_the_global_section_and_tells_the_checker(config, handed):
    source = {'global': {'server.x': 1, 'tools.staticdir.dir': 'd'}, '/': {'a': 1}}
    config.update(source)
    assert handed == [('checker.global_config_contained_paths', True), ('server.x', 1)]
    assert config == {
        **DEFAULTS,
        'server.x': 1,
        'tools.staticdir.dir': 'd',
        'tools.staticdir.section': 'global',
    }
    # W16: the caller's dicts stay as they were.
    assert source == {'global': {'server.x': 1, 'tools.staticdir.dir': 'd'}, '/': {'a': 1}}


def test_global_section_alone_is_nothing_to_tell(config, handed):
    config.update({'global': {'a': 1}})
    assert handed == []


def test_update_without_global_section_keeps_whole_sections(config):
    config.update({'my': {'my.dir': '/x'}, '/': {'a': 1}})
    assert config['my']['my.dir'] == '/x'
    assert config['/'] == {'a': 1}


def test_update_from_a_file_reports_its_name(config, conf_file):
    seen = []
    config.on_file = seen.append
    config.update(str(conf_file))
    assert config['server.socket_port'] == 80
    assert seen == [str(conf_file)]


def test_missing_file_raises(config, tmp_path):
    with pytest.raises(FileNotFoundError):
        config.update(str(tmp_path / 'none.conf'))


def test_item_assignment_reaches_the_namespace_and_other_changes_do_not(config, handed):
    config['server.port'] = 1
    assert handed == [('server.port', 1)]
    config.setdefault('server.a', 1)
    config |= {'server.b': 1}
    config.pop('server.a')
    del config['server.b']
    assert handed == [('server.port', 1)]


def test_every_way_to_change_is_counted(config, counted):
    counted()
    config['a'] = 1
    assert counted() == 1
    config['a'] = 1
    assert counted() == 0
    config['a'] = True
    assert counted() == 1
    config.update({'a': 2, 'b': 3})
    assert counted() == 1
    config.update({'a': 2})
    assert counted() == 0
    config.setdefault('c', 1)
    config.pop('c')
    assert counted() == 2
    config |= {'d': 1}
    del config['d']
    assert counted() == 2
    config.reset()
    assert counted() == 1


def test_equal_value_assigned_again_still_reaches_the_namespace(config, handed):
    config['server.port'] = 1
    config['server.port'] = 1
    assert handed == [('server.port', 1)] * 2


def test_entries_stay_set_when_a_handler_raises(config):
    config.namespaces['bad'] = lambda k, v: 1 / 0
    with pytest.raises(ZeroDivisionError):
        config.update({'bad.x': 1, 'good': 2})
    assert config['bad.x'] == 1
    assert config['good'] == 2


def test_environment_adds_the_keys_absent_from_the_same_update(config, handed):
    config.update({'log.screen': True})
    config.update({'environment': 'production', 'checker.on': True})
    assert config['log.screen'] is False
    assert config['checker.on'] is True
    assert config['request.show_tracebacks'] is False
    assert ('log.screen', False) in handed
    assert ('checker.on', True) in handed
    assert ('checker.on', False) not in handed


def test_unknown_environment_sets_nothing_and_names_the_nearest(config):
    with pytest.raises(KeyError, match=r"'prodution'.*'production'"):
        config.update({'environment': 'prodution', 'a': 1})
    assert config == DEFAULTS


def test_environment_by_item_assignment_is_plain_data(config):
    config['environment'] = 'production'
    assert 'checker.on' not in config


def test_environment_in_the_global_section(config):
    config.update({'global': {'environment': 'embedded'}})
    assert config['engine.SIGHUP'] is None


def test_environments_hold_what_the_manual_says():
    common = {
        'engine.autoreload.on': False,
        'checker.on': False,
        'tools.log_headers.on': False,
        'request.show_tracebacks': False,
        'request.show_mismatched_params': False,
        'request.debug': False,
        'request.debug_remote': False,
    }
    assert environments is Config.environments
    assert environments['staging'] == common
    assert environments['production'] == {**common, 'log.screen': False}
    assert environments['embedded'] == {
        **common,
        'log.screen': False,
        'engine.SIGHUP': None,
        'engine.SIGTERM': None,
    }
    assert environments['test_suite'] == {
        **common,
        'request.show_tracebacks': True,
        'request.show_mismatched_params': True,
        'log.screen': False,
    }


def test_reset_restores_the_defaults_and_the_attributes_that_config_has_set(config):
    class Log:
        screen = True

    log = Log()
    config.namespaces['log'] = AttributeNamespace(lambda: log)
    config.update({'log.screen': False, 'a': 1})
    assert log.screen is False
    config.reset()
    assert config == DEFAULTS
    assert log.screen is True


def test_namespaces_belong_to_the_instance(config):
    config.namespaces['mine'] = lambda k, v: None
    assert 'mine' not in Config().namespaces
    assert isinstance(Config.namespaces, NamespaceSet)


def test_call_gives_a_decorator(config, counted):
    class Base:
        _cp_config = {'z': 1}

    counted()

    @config(**{'tools.x.on': True, 'self': 1})
    class Sub(Base):
        pass

    assert counted() == 1
    assert Sub._cp_config == {'z': 1, 'tools.x.on': True, 'self': 1}
    assert Base._cp_config == {'z': 1}

    @config(a=1)
    @config(a=2, b=3)
    def page():
        return 'page'

    assert page() == 'page'
    assert page._cp_config == {'a': 1, 'b': 3}
    with pytest.raises(TypeError):
        config({'a': 1})


def test_reading_config_is_reading_a_plain_dict():
    for cls in (Config, AppConfig, Section):
        for name in ('__getitem__', 'get', '__contains__', '__iter__', 'items', 'copy'):
            assert getattr(cls, name) is getattr(dict, name)
    assert type(Config().copy()) is dict


# ---------------------------------------------------------------- application config


NO_SECTIONS = (
    "Application config must include section headers, but the config you tried to merge doesn't "
    'have any sections. Wrap your config in another dict with paths as section headers, '
    "for example: {'/': config}."
)


@pytest.mark.parametrize('bad', [{'a': 1}, {'/': {'a': 1}, 'b': 2}, {'/': None}])
def test_merge_without_sections_raises_and_sets_nothing(bad):
    app_config = AppConfig()
    with pytest.raises(ValueError) as caught:
        app_config.merge(bad)
    assert str(caught.value) == NO_SECTIONS
    assert app_config == {}


def test_merge_updates_section_by_section_and_copies():
    source = {'/': {'a': 1}, 'db': {'dsn': 'x'}, '/p': {}}
    app_config = AppConfig()
    app_config.merge(source)
    app_config.merge({'/': {'b': 2}, 'global': {'environment': 'production'}})
    assert app_config == {
        '/': {'a': 1, 'b': 2},
        'db': {'dsn': 'x'},
        '/p': {},
        'global': {'environment': 'production'},
    }
    assert source == {'/': {'a': 1}, 'db': {'dsn': 'x'}, '/p': {}}


def test_merge_gives_the_entries_of_the_root_section_that_changed():
    app_config = AppConfig()
    assert app_config.merge({'/': {'wsgi.pipeline': [1], 'log.screen': True}, '/x': {'log.y': 1}}) == {
        'wsgi.pipeline': [1],
        'log.screen': True,
    }
    # W26: what is as it was is not applied again.
    assert app_config.merge({'/': {'wsgi.pipeline': [1], 'log.screen': False}}) == {'log.screen': False}
    assert app_config.merge({'/x': {'log.y': 2}}) == {}
    app_config['/']['log.screen'] = 5
    assert app_config.merge({}) == {'log.screen': 5}


def test_merge_gives_entries_set_before_the_first_merge():
    app_config = AppConfig({'/': {'a': 1}})
    assert app_config.merge({'/': {'b': 2}}) == {'a': 1, 'b': 2}


def test_merge_takes_values_that_cannot_be_compared():
    class Odd:
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    app_config = AppConfig()
    first, second = Odd(), Odd()
    assert app_config.merge({'/': {'a': first}})['a'] is first
    assert app_config.merge({'/': {'a': first}}) == {}
    assert app_config.merge({'/': {'a': second}})['a'] is second


def test_merge_reads_files(conf_file):
    seen = []
    app_config = AppConfig()
    app_config.on_file = seen.append
    assert app_config.merge(str(conf_file)) == {'a': 1}
    assert app_config['global'] == {'server.socket_port': 80}
    assert seen == [str(conf_file)]


def test_every_change_of_a_section_is_counted(counted):
    app_config = AppConfig({'/': {'a': 1}})
    counted()
    app_config['/']['a'] = 2
    app_config['/'].update(b=3)
    app_config.setdefault('/x', {})['y'] = 1
    assert counted() == 4
    app_config['/z'] = {'k': 1}
    app_config['/z']['k'] = 2
    app_config.update({'/w': {}})
    app_config['/w'].setdefault('k', 1)
    del app_config['/w']
    assert counted() == 5
    app_config['/']['a'] = 2
    app_config.merge({'/': {'a': 2, 'b': 3}})
    assert counted() == 0


def test_section_knows_its_path():
    app_config = AppConfig({'/': {'a': 1}})
    app_config.merge({'/x': {}})
    app_config['/y'] = app_config['/x']
    app_config.setdefault('/z', {})
    assert [section.path for section in app_config.values()] == ['/', '/x', '/y', '/z']
    copied = deepcopy(app_config)
    assert copied == app_config
    assert copied['/x'].path == '/x'


def test_sections_are_copies_and_other_values_stay():
    mine = {'a': 1}
    app_config = AppConfig({'/': mine})
    app_config['/q'] = mine
    app_config['number'] = 5
    mine['a'] = 2
    assert app_config == {'/': {'a': 1}, '/q': {'a': 1}, 'number': 5}
    app_config.merge({'number': {'a': 1}})
    assert app_config['number'] == {'a': 1}


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        ('', 1),
        ('/', 1),
        ('/a', 2),
        ('/a/', 2),
        ('/a/b', 2),
        ('/a//b', 2),
        ('/ab', 1),
        ('/leaf', 1),
        ('/leaf/x', 1),
        ('/a.b/c', 3),
        ('/a_b', 1),
        ('/z%2Fw', 4),
        ('/z/w', 1),
        ('a', None),
        ('a/b', None),
    ],
)
def test_find_looks_in_the_section_and_its_parents(path, value):
    app_config = AppConfig(
        {'/': {'x': 1}, '/a': {'x': 2}, '/leaf/': {'x': 9}, '/a.b': {'x': 3}, '/z%2Fw': {'x': 4}, 'db': {'x': 5}}
    )
    assert app_config.find(path, 'x') == value
    assert app_config.find(path, 'y', 'default') == 'default'


def test_find_in_empty_config_gives_the_default():
    assert AppConfig().find('/a/b', 'x', 7) == 7


# ---------------------------------------------------------------- unknown names


def test_nearest_known_name():
    assert nearest('toolz', ['tools', 'log']) == 'tools'
    assert nearest('zzz', ['tools', 'log']) is None


def test_unknown_key_message_names_key_value_section_and_nearest():
    assert unknown_key_message('toolz.gzip.on', True, '/x', ['tools', 'log']) == (
        "The config entry 'toolz.gzip.on' = True in section [/x] is unknown. Did you mean 'tools'?"
    )
    assert unknown_key_message('tools.gzp.on', True, None, ['tools', 'gzip']) == (
        "The config entry 'tools.gzp.on' = True in global config is unknown. Did you mean 'gzip'?"
    )
    message = unknown_key_message('q', 'x' * 500, None, ['tools'])
    assert message.endswith('is unknown.')
    assert len(message) < 150
