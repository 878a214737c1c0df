"""lib.reprconf: CherryPy's names for the config building blocks."""

import pytest

from cpadapter import unrepr
from cpadapter.core.config import Config
from cpadapter.extension.namespaces import NamespaceSet
from cpadapter.lib import reprconf


def test_names_are_those_of_the_package():
    assert reprconf.unrepr is unrepr.unrepr
    assert reprconf.modules is unrepr.modules
    assert reprconf.attributes is unrepr.attributes
    assert reprconf.NamespaceSet is NamespaceSet
    assert reprconf.Parser is unrepr.Parser
    assert issubclass(Config, reprconf.Config)
    with pytest.raises(AttributeError):
        reprconf.Nonesuch  # noqa: B018


def test_config_starts_from_a_file_and_keywords(tmp_path):
    path = tmp_path / 'a.conf'
    path.write_text('[s]\nx = 1\n')
    config = reprconf.Config(file=str(path), b=2)
    assert config == {'s': {'x': 1}, 'b': 2}
    assert (reprconf.Config.defaults, reprconf.Config.environments) == ({}, {})


def test_subclass_has_defaults_environments_and_namespaces_of_its_own():
    calls = []

    class Mine(reprconf.Config):
        defaults = {'d': 1}
        environments = {'e': {'ns.k': 1, 'd': 2}}
        namespaces = NamespaceSet(ns=lambda k, v: calls.append((k, v)))

    config = Mine(environment='e')
    assert config == {'environment': 'e', 'ns.k': 1, 'd': 2}
    config['ns.j'] = 2
    assert calls == [('k', 1), ('j', 2)]
    config.reset()
    assert config == {'d': 1}
    with pytest.raises(KeyError):
        config.update({'environment': 'f'})
