"""cp_throttle: rate limits, feature flags and versions by header, for pages that know nothing of them.

cp_throttle.install()                       # for every application, or
cp_throttle.install(application)            # for one

[/api]
request.dispatch = cp_throttle.VersionDispatcher({'1': '/v1', '2': '/v2'}, default = '2')
throttle.limit.on = True
throttle.limit.rate = 20
features.search = True
"""

from __future__ import annotations

import cpadapter as cherrypy

from .flags import FeatureSet, is_on, set_feature
from .tools import Audit, toolbox
from .versions import VersionDispatcher

__all__ = ['Audit', 'FeatureSet', 'VersionDispatcher', 'install', 'is_on', 'set_feature', 'toolbox']


def install(application: cherrypy.Application | None = None) -> None:
    """Make the config namespaces `throttle` and `features` known: to one application, or to all of them."""
    namespaces = cherrypy.Request.namespaces if application is None else application.toolboxes
    namespaces['throttle'] = toolbox
    namespaces['features'] = FeatureSet()
