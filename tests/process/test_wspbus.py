"""CherryPy's names for the bus."""

from __future__ import annotations

import pytest

from cpadapter import process
from cpadapter.core.engine import Engine
from cpadapter.core.site import Site
from cpadapter.process import wspbus


def test_the_bus_is_the_engine():
    assert wspbus.Bus is Engine
    assert wspbus.Bus().states is wspbus.states


def test_the_bus_of_the_module_is_the_default_sites_engine():
    assert wspbus.bus is process.bus is Site.default().engine
    with pytest.raises(AttributeError, match='nothing'):
        wspbus.nothing  # noqa: B018


def test_submodules_load_when_named():
    assert process.plugins.SimplePlugin.bus is None
    assert process.servers.ServerAdapter.start.priority == 75
    with pytest.raises(AttributeError, match='nothing'):
        process.nothing  # noqa: B018
