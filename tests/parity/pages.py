"""The trees of page handlers of the application: written once, for whichever package is handed in.

Each function takes the package and gives a root object (or several). Nothing here reads global state or mounts.
"""

from __future__ import annotations

import functools
import io
import types
from typing import Any

__all__ = [
    'argument_root',
    'dispatcher_root',
    'exposure_root',
    'method_root',
    'parameter_root',
    'show',
    'tree_root',
    'value_root',
]


def show(name: str, args: Any = (), kwargs: Any = None) -> str:
    """Say which handler ran and what it was given."""
    return f'{name} {tuple(args)!r} {sorted((kwargs or {}).items())!r}'


def tree_root(cp: Any) -> Any:
    """The tree of Spec A 2.1 to 2.4."""
    expose = cp.expose

    class Leafless:
        """No index, no default."""

        @expose
        def leaf(self, *args: str, **kwargs: Any) -> str:
            return show('leaf', args, kwargs)

    class IndexOnly:
        @expose
        def index(self, **kwargs: Any) -> str:
            return show('dir.index', (), kwargs)

        @expose
        def method(self, *args: str, **kwargs: Any) -> str:
            return show('dir.method', args, kwargs)

        @expose
        def fixed(self) -> str:
            return 'dir.fixed'

        def hidden(self) -> str:
            return 'dir.hidden'

    class DefaultOnly:
        @expose
        def default(self, *args: str, **kwargs: Any) -> str:
            return show('default_only.default', args, kwargs)

        def hidden(self) -> str:
            return 'hidden'

    class Both(IndexOnly):
        @expose
        def default(self, *args: str, **kwargs: Any) -> str:
            return show('both.default', args, kwargs)

    class Inner:
        @expose
        def default(self, *args: str) -> str:
            return show('inner default', args)

    class UnexposedDefault:
        """An object named default that is not exposed itself."""

        default = Inner()

    class ExposedObject:
        exposed = True

        def __call__(self, *args: str, **kwargs: Any) -> str:
            return show('default object', args, kwargs)

        @expose
        def child(self) -> str:
            return 'child of the default object'

    class ObjectDefault:
        default = ExposedObject()

    class Hidden:
        """Not exposed, and walked through."""

        _cp_config = {'seen': 'hidden'}

        @expose
        def inner(self) -> str:
            return show('hidden.inner')

        @expose
        def conf(self) -> str:
            return str(cp.request.config.get('seen'))

        def not_exposed(self) -> str:
            return 'no'

    class Callable:
        exposed = True

        def __call__(self, *args: str, **kwargs: Any) -> str:
            return show('cal', args, kwargs)

        @expose
        def child(self) -> str:
            return 'cal.child'

    class Dir4:
        def index(self) -> str:
            return 'not exposed'

    class Dir3:
        dir4 = Dir4()

        @expose
        def default(self, *args: str) -> str:
            return show('dir3.default', args)

    class Base:
        @expose
        def inherited(self) -> str:
            return 'inherited'

    class Derived(Base):
        @property
        def prop(self) -> Any:
            return Inner()

        @expose
        def _single(self) -> str:
            return 'single underscore'

    class Chain:
        """Each level has an index only, the top has a default."""

        a = IndexOnly()

        @expose
        def default(self, *args: str) -> str:
            return show('chain.default', args)

    class Root:
        noindex = Leafless()
        dir = IndexOnly()
        default_only = DefaultOnly()
        both = Both()
        unexposed_default = UnexposedDefault()
        object_default = ObjectDefault()
        hidden = Hidden()
        cal = Callable()
        dir2 = IndexOnly()
        dir3 = Dir3()
        derived = Derived()
        chain = Chain()
        nothing = None
        data = 'a string'

        @expose
        def index(self, **kwargs: Any) -> str:
            return show('root.index', (), kwargs)

        @expose
        def plain(self) -> str:
            return 'plain'

        @expose
        def method(self, *args: str, **kwargs: Any) -> str:
            return show('method', args, kwargs)

        @expose
        def translate_html(self) -> str:
            return 'translated'

        @expose
        def a_b(self) -> str:
            return 'a_b'

        @expose
        def created_example_com_3128(self) -> str:
            return 'authority ' + cp.request.method

        @expose
        def x________________________________(self) -> str:
            return 'all punctuation'

        @expose
        def page(self, *args: str) -> str:
            return show('page', args)

        @expose
        def where(self, **kwargs: Any) -> str:
            request = cp.request
            return repr((request.script_name, request.path_info, request.query_string, request.request_line))

    setattr(Root, 'Von Bülow', expose(lambda self: 'latin-1 name'))
    Root.grün = expose(lambda self, *args: show('utf-8 name', args))
    return Root()


def with_default(cp: Any, root: Any) -> Any:
    """Give a subclass instance of the root that has a default too."""

    class WithDefault(type(root)):  # type: ignore[misc]
        @cp.expose
        def default(self, *args: str, **kwargs: Any) -> str:
            return show('root.default', args, kwargs)

    return WithDefault()


def exposure_root(cp: Any) -> Any:
    """Every way of exposing of Spec A 1.1, and the handler values of 1.2."""
    expose = cp.expose

    class Instance:
        def __call__(self, *args: str, **kwargs: Any) -> str:
            return show('instance', args, kwargs)

    def attempt(make: Any) -> Any:
        # What cannot be exposed is a page that says what exposing it raised.
        try:
            return make()
        except Exception as exc:
            text = type(exc).__name__
            return expose(lambda self: text)

    def plain_function(*args: str, **kwargs: Any) -> str:
        return show('plain function', args, kwargs)

    class Root:
        @expose
        def plain(self) -> str:
            return 'plain'

        @expose()
        def called(self) -> str:
            return 'called'

        @expose('alias_one')
        def original_one(self) -> str:
            return 'one'

        @expose(['alias_two', 'alias_three'])
        def original_two(self) -> str:
            return 'two'

        @expose(('alias_tuple',))
        def original_tuple(self) -> str:
            return 'tuple'

        @expose({'alias_set'})
        def original_set(self) -> str:
            return 'set'

        @expose(name for name in ['alias_generator'])
        def original_generator(self) -> str:
            return 'generator'

        @expose(alias='alias_keyword')
        def original_keyword(self) -> str:
            return 'keyword'

        @expose(alias=['alias_keyword_1', 'alias_keyword_2'])
        def original_keywords(self) -> str:
            return 'keywords'

        def statement(self) -> str:
            return 'statement'

        expose(statement, 'alias_statement')

        def statement_list(self) -> str:
            return 'statement list'

        expose(statement_list, ['alias_statement_1', 'alias_statement_2'])

        def statement_keyword(self) -> str:
            return 'statement keyword'

        expose(statement_keyword, alias='alias_statement_keyword')

        @expose('q.r')
        def dotted(self) -> str:
            return 'dotted'

        @expose('x-y')
        def dashed(self) -> str:
            return 'dashed'

        @expose(['global_', 'xyz'])
        def reserved(self) -> str:
            return 'reserved'

        nex = plain

        @expose
        @cp.config(**{'from.config': 'a'})
        @cp.tools.response_headers(headers=[('X-Tool', 'a')])
        def stacked_a(self) -> str:
            return str(cp.request.config.get('from.config'))

        @cp.tools.response_headers(headers=[('X-Tool', 'b')])
        @cp.config(**{'from.config': 'b'})
        @expose
        def stacked_b(self) -> str:
            return str(cp.request.config.get('from.config'))

        @cp.config(**{'from.config': 'c'})
        @expose('alias_config')
        def stacked_c(self) -> str:
            return str(cp.request.config.get('from.config'))

        def by_hand(self) -> str:
            return 'by hand'

        by_hand.exposed = True  # type: ignore[attr-defined]

        def falsy(self) -> str:
            return 'falsy'

        falsy.exposed = 0  # type: ignore[attr-defined]

        def truthy(self) -> str:
            return 'truthy'

        truthy.exposed = 'yes'  # type: ignore[attr-defined]

        def toggled(self) -> str:
            return 'toggled'

        @expose
        def toggle(self, on: str) -> str:
            Root.toggled.exposed = on == 'on'  # type: ignore[attr-defined]
            return 'done'

        @expose
        class page_class:
            def __init__(self, name: str = 'nobody') -> None:
                self.name = name

            def __iter__(self) -> Any:
                return iter([b'page class ', self.name.encode()])

        @staticmethod
        @expose
        def static_above() -> str:
            return 'static above'

        static_below = attempt(lambda: expose(staticmethod(lambda: 'static below')))
        class_below = attempt(lambda: expose(classmethod(lambda cls: 'class below')))
        property_below = attempt(lambda: expose(property(lambda self: 'property below')))
        instance = attempt(lambda: expose(Instance()))
        partial = attempt(lambda: expose(functools.partial(plain_function, 'given')))
        builtin = attempt(lambda: expose(len))

        @expose
        def g_generator(self) -> Any:
            yield 'one '
            yield 'two'

        @expose
        def g_generator_bytes(self) -> Any:
            yield b'one '
            yield b'two'

        @expose
        def g_bytes(self) -> bytes:
            return b'bytes'

        @expose
        def g_list(self) -> list[str]:
            return ['a', 'b']

        @expose
        def g_list_bytes(self) -> list[bytes]:
            return [b'a', b'b']

        @expose
        def g_tuple(self) -> tuple[str, str]:
            return ('a', 'b')

        @expose
        def g_file(self) -> Any:
            return io.BytesIO(b'from a file')

        @expose
        def g_text_file(self) -> Any:
            return io.StringIO('from a text file')

        @expose
        def g_iterator(self) -> Any:
            return iter([b'x', b'y'])

        @expose
        def g_map(self) -> Any:
            return map(str, range(3))

        @expose
        def g_none(self) -> None:
            return None

        @expose
        def g_empty(self) -> str:
            return ''

        @expose
        def g_empty_bytes(self) -> bytes:
            return b''

        @expose
        def g_empty_list(self) -> list[str]:
            return []

        @expose
        def g_unicode(self) -> str:
            return 'héllo ☃'

        @expose
        def g_int(self) -> Any:
            return 7

        @expose
        def g_float(self) -> Any:
            return 1.5

        @expose
        def g_object(self) -> Any:
            return object()

        @expose
        def g_list_int(self) -> Any:
            return [1]

        @expose
        async def g_async(self) -> str:
            return 'async'

        @expose
        @cp.config(**{'tools.encode.on': False})
        def e_str(self) -> str:
            return 'text'

        @expose
        @cp.config(**{'tools.encode.on': False})
        def e_bytes(self) -> bytes:
            return b'bytes'

        @expose
        @cp.config(**{'tools.encode.on': False})
        def e_list(self) -> list[str]:
            return ['a']

        @expose
        @cp.config(**{'tools.encode.on': False})
        def e_empty(self) -> str:
            return ''

        @expose
        @cp.config(**{'response.stream': True})
        def stream(self) -> Any:
            yield 'one '
            yield 'two'

        @expose
        def body_then_none(self) -> None:
            cp.response.body = b'assigned'

        @expose
        def length(self) -> bytes:
            cp.response.headers['Content-Length'] = '4'
            cp.response.headers['Content-Type'] = 'application/octet-stream'
            return b'four'

    return Root()


def function_root(cp: Any) -> Any:
    @cp.expose
    def page(*args: str, **kwargs: Any) -> str:
        return show('function root', args, kwargs)

    return page


def class_root(cp: Any) -> Any:
    class Root:
        @staticmethod
        @cp.expose
        def index() -> str:
            return 'class root index'

        @classmethod
        @cp.expose
        def method(cls, name: str = 'x') -> str:
            return 'class method ' + name

    return Root


def module_root(cp: Any) -> Any:
    module = types.ModuleType('pages_of_a_module')

    def index() -> str:
        return 'module index'

    def page(*args: str) -> str:
        return show('module page', args)

    module.index = cp.expose(index)  # type: ignore[attr-defined]
    module.page = cp.expose(page)  # type: ignore[attr-defined]
    return module


def callable_root(cp: Any) -> Any:
    class Root:
        exposed = True

        def __call__(self, *args: str, **kwargs: Any) -> str:
            return show('callable root', args, kwargs)

        @cp.expose
        def child(self) -> str:
            return 'child'

    return Root()


def dispatcher_root(cp: Any) -> Any:
    """`_cp_dispatch` and popargs: Spec A 2.5 and 2.6."""
    expose = cp.expose

    class Node:
        def __init__(self, name: str) -> None:
            self.name = name

        @expose
        def index(self, **kwargs: Any) -> str:
            return show('node ' + self.name, (), kwargs)

        @expose
        def method(self, *args: str, **kwargs: Any) -> str:
            return show('node method ' + self.name, args, kwargs)

    class PopOne:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            return Node(vpath.pop(0))

        @expose
        def page(self) -> str:
            return 'pop_one.page'

        @expose
        def index(self) -> str:
            return 'pop_one.index'

    class PopLast:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            return Node('last ' + vpath.pop())

    class PopAll:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            name = '/'.join(vpath)
            vpath[:] = []
            return Node('all ' + name)

    class PopNone:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            return Node('kept ' + '/'.join(vpath))

    class SelfNode:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            cp.request.params.setdefault('popped', vpath.pop(0))
            return self

        @expose
        def index(self, **kwargs: Any) -> str:
            return show('self.index', (), kwargs)

        @expose
        def page(self, **kwargs: Any) -> str:
            return show('self.page', (), kwargs)

    class NoneNode:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            return None

        @expose
        def default(self, *args: str) -> str:
            return show('none.default', args)

    class ListNode:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            cp.request.params['name'] = vpath.pop()
            return vpath

    class Grow:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            vpath.append('more')
            return self

    class ExposedDispatch:
        @expose
        def _cp_dispatch(self, vpath: Any = None) -> str:
            return 'a page'

        @expose
        def default(self, *args: str) -> str:
            return show('exposed.default', args)

    class NotCallable:
        _cp_dispatch = 'text'

        @expose
        def default(self, *args: str) -> str:
            return show('not callable.default', args)

    class Raises:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            kind = vpath.pop(0)
            if kind == '404':
                raise cp.HTTPError(404, 'from the dispatcher')
            if kind == 'notfound':
                raise cp.NotFound()
            if kind == 'redirect':
                raise cp.HTTPRedirect('/elsewhere')
            raise ValueError('from the dispatcher')

    class WritesParams:
        def _cp_dispatch(self, vpath: list[str]) -> Any:
            cp.request.params['seen'] = repr(sorted(cp.request.params.items()))
            cp.request.params['key'] = vpath.pop(0)
            return self

        @expose
        def index(self, **kwargs: Any) -> str:
            return show('params', (), kwargs)

    @cp.popargs('a', 'b')
    class Pop:
        @expose
        def index(self, **kwargs: Any) -> str:
            return show('pop.index', (), kwargs)

        @expose
        def act(self, *args: str, **kwargs: Any) -> str:
            return show('pop.act', args, kwargs)

    class PopAttribute:
        _cp_dispatch = cp.popargs('one')

        @expose
        def index(self, one: str = 'unset', other: str = 'unset') -> str:
            return f'{one} {other}'

        @expose
        def act(self, one: str = 'unset') -> str:
            return 'act ' + one

        @expose
        def dash_ed(self, one: str = 'unset') -> str:
            return 'dashed ' + one

    @cp.popargs('a')
    class PopDefault:
        @expose
        def default(self, *args: str, **kwargs: Any) -> str:
            return show('pop.default', args, kwargs)

    @cp.popargs()
    class PopNothing:
        @expose
        def index(self) -> str:
            return 'index'

        @expose
        def page(self) -> str:
            return 'page'

    @cp.popargs('year', 'month', handler=Node('handler object'))
    class PopHandler:
        @expose
        def index(self) -> str:
            return 'pop_handler.index'

    class Made:
        def __init__(self, **kwargs: Any) -> None:
            self.given = kwargs

        @expose
        def index(self, **kwargs: Any) -> str:
            return show('made', sorted(self.given.items()), kwargs)

        @expose
        def act(self, **kwargs: Any) -> str:
            return show('made.act', sorted(self.given.items()), kwargs)

    @cp.popargs('year', 'month', handler=Made)
    class PopClass:
        @expose
        def index(self) -> str:
            return 'pop_class.index'

    @cp.popargs('year', handler=lambda year: Node('made for ' + year))
    class PopFactory:
        pass

    @cp.popargs('user')
    class Users:
        @cp.popargs('post')
        class posts:
            @expose
            def index(self, user: str, post: str = 'none') -> str:
                return f'user {user} post {post}'

            @expose
            def edit(self, user: str, post: str) -> str:
                return f'edit {user} {post}'

        posts = posts()  # type: ignore[assignment]

        @expose
        def index(self, user: str = 'none') -> str:
            return f'user {user}'

    class Renamed:
        def dynamic(self, vpath: list[str]) -> Any:
            return Node('renamed ' + vpath.pop(0))

    class Conf:
        """Config sections of popped segments are collected."""

        def _cp_dispatch(self, vpath: list[str]) -> Any:
            vpath.pop(0)
            vpath.pop(0)
            return self

        @expose
        def conf(self, key: str) -> str:
            return str(cp.request.config.get(key))

    class Root:
        pop_one = PopOne()
        pop_last = PopLast()
        pop_all = PopAll()
        pop_none = PopNone()
        self_node = SelfNode()
        none_node = NoneNode()
        list_node = ListNode()
        grow = Grow()
        exposed_dispatch = ExposedDispatch()
        not_callable = NotCallable()
        raises = Raises()
        params = WritesParams()
        p = Pop()
        attr = PopAttribute()
        dt = PopDefault()
        nothing = PopNothing()
        handler = PopHandler()
        cls = PopClass()
        factory = PopFactory()
        users = Users()
        renamed = Renamed()
        conf = Conf()

    return Root()


def parameter_root(cp: Any) -> Any:
    """Handlers of many signatures: Spec A 3.3."""
    expose = cp.expose

    def passing(func: Any) -> Any:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

        return wrapper

    def supplying(func: Any) -> Any:
        @functools.wraps(func)
        def wrapper(self: Any, **kwargs: Any) -> Any:
            return func(self, 'supplied', **kwargs)

        return wrapper

    class CallOnePositional:
        exposed = True

        def __call__(self, param1: str) -> str:
            return show('call one', (param1,))

    class CallNone:
        exposed = True

        def __call__(self) -> str:
            return 'call none'

    class Root:
        call_one = CallOnePositional()
        call_none = CallNone()

        @expose
        def no_positional(self) -> str:
            return 'no positional'

        @expose
        def one_positional(self, param1: str) -> str:
            return show('one', (param1,))

        @expose
        def two_positional(self, param1: str, param2: str) -> str:
            return show('two', (param1, param2))

        @expose
        def one_default(self, param1: str = 'dflt') -> str:
            return show('one default', (param1,))

        @expose
        def one_args(self, param1: str, *args: str) -> str:
            return show('one args', (param1, *args))

        @expose
        def one_args_kwargs(self, param1: str, *args: str, **kwargs: Any) -> str:
            return show('one args kwargs', (param1, *args), kwargs)

        @expose
        def one_kwargs(self, param1: str, **kwargs: Any) -> str:
            return show('one kwargs', (param1,), kwargs)

        @expose
        def only_kwargs(self, **kwargs: Any) -> str:
            return show('kwargs', (), kwargs)

        @expose
        def only_args(self, *args: str) -> str:
            return show('args', args)

        @expose
        def keyword_only(self, *, name: str = 'x') -> str:
            return 'keyword only ' + name

        @expose
        def keyword_required(self, *, name: str) -> str:
            return 'keyword required ' + name

        @expose
        def positional_only(self, name: str, /) -> str:
            return 'positional only ' + name

        @staticmethod
        @expose
        def static(name: str) -> str:
            return 'static ' + name

        @expose
        def raises(self, **kwargs: Any) -> str:
            raise TypeError('from the handler')

        @expose
        def raises_default(self, param1: str = 'x') -> str:
            raise TypeError('from the handler')

        @expose
        @passing
        def decorated(self, param1: str) -> str:
            return show('decorated', (param1,))

        @expose
        @passing
        def decorated_raises(self, param1: str) -> str:
            raise TypeError('from the handler')

        @expose
        @supplying
        def supplied(self, value: str, name: str = 'x') -> str:
            return f'{value} {name}'

        @expose
        @cp.config(**{'request.show_mismatched_params': False})
        def quiet(self, param1: str) -> str:
            return show('quiet', (param1,))

        @expose
        @cp.config(**{'request.process_request_body': False})
        def unread(self, **kwargs: Any) -> str:
            return show('unread', (), kwargs)

        @expose
        @cp.config(**{'request.methods_with_bodies': ('POST', 'PUT', 'PATCH', 'DELETE')})
        def bodies(self, **kwargs: Any) -> str:
            return show('bodies', (), kwargs)

        @expose
        @cp.config(**{'request.query_string_encoding': 'latin-1'})
        def latin(self, **kwargs: Any) -> str:
            return show('latin', (), kwargs)

        @expose
        @cp.config(**{'request.body.attempt_charsets': ['utf-16', 'utf-8']})
        def charsets(self, **kwargs: Any) -> str:
            return show('charsets', (), kwargs)

        @expose
        @cp.config(**{'request.body.maxbytes': 5})
        def small(self, **kwargs: Any) -> str:
            return show('small', (), kwargs)

        @expose
        def body_params(self, **kwargs: Any) -> str:
            return repr(sorted(cp.request.body.params.items()))

    return Root()


def argument_root(cp: Any) -> Any:
    """Hooks that edit what the handler is given: Spec A 3.1 and 11."""
    expose = cp.expose

    def set_args() -> None:
        cp.request.handler.args = ('hooked', *cp.request.handler.args)

    def set_kwargs() -> None:
        cp.request.handler.kwargs = {'hooked': 'yes'}

    def set_params() -> None:
        cp.request.params['added'] = 'by hook'

    def replace_handler() -> None:
        cp.request.handler = lambda: 'replaced'

    def skip_handler() -> None:
        cp.request.handler = None

    def skip_with_body() -> None:
        cp.request.handler = None
        cp.response.body = b'from the hook'

    def error_handler() -> None:
        cp.request.handler = cp.HTTPError(402, 'as a handler')

    def redirect_handler() -> None:
        cp.request.handler = cp.HTTPRedirect('/as-a-handler')

    def notfound_handler() -> None:
        cp.request.handler = cp.NotFound()

    def read_only_args() -> None:
        cp.response.headers['X-Args'] = repr((cp.request.handler.args, cp.request.handler.kwargs))

    class Root:
        @expose
        @cp.config(**{'hooks.before_handler': set_args})
        def args(self, *args: str, **kwargs: Any) -> str:
            return show('args', args, kwargs)

        @expose
        @cp.config(**{'hooks.before_handler': set_kwargs})
        def kwargs(self, *args: str, **kwargs: Any) -> str:
            return show('kwargs', args, kwargs)

        @expose
        @cp.config(**{'hooks.before_handler': set_params})
        def params(self, *args: str, **kwargs: Any) -> str:
            return show('params', args, kwargs)

        @expose
        @cp.config(**{'hooks.on_start_resource': set_params})
        def early_params(self, *args: str, **kwargs: Any) -> str:
            return show('early params', args, kwargs)

        @expose
        @cp.config(**{'hooks.before_handler': replace_handler})
        def replaced(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': skip_handler})
        def skipped(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': skip_with_body})
        def skipped_body(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': error_handler})
        def error(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': redirect_handler})
        def redirect(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': notfound_handler})
        def notfound(self) -> str:
            return 'original'

        @expose
        @cp.config(**{'hooks.before_handler': read_only_args})
        def seen(self, *args: str, **kwargs: Any) -> str:
            return repr((cp.request.args, sorted(cp.request.kwargs.items())))

    return Root()


def method_root(cp: Any) -> Any:
    """Resources for the MethodDispatcher: Spec A 4.1."""
    expose = cp.expose

    class Resource:
        exposed = True

        def __init__(self, name: str) -> None:
            self.name = name

        def GET(self, *args: str, **kwargs: Any) -> str:
            return show('GET ' + self.name, args, kwargs)

        def PUT(self, **kwargs: Any) -> str:
            return show('PUT ' + self.name, (), kwargs)

        @cp.config(
            **{
                'from.method': 'yes',
                'tools.response_headers.on': True,
                'tools.response_headers.headers': [('X-Method', 'POST')],
            }
        )
        def POST(self, **kwargs: Any) -> str:
            return str(cp.request.config.get('from.method'))

    class Fixed:
        exposed = True

        def GET(self) -> str:
            return 'fixed'

        def DELETE(self, key: str) -> str:
            return 'deleted ' + key

    class ExplicitHead:
        exposed = True

        def HEAD(self) -> str:
            cp.response.headers['X-Head'] = 'explicit'
            return ''

        def GET(self) -> str:
            return 'get'

    class NoMethods:
        exposed = True

    class Constants:
        exposed = True
        FOO = 7
        X_1 = 'text'
        _PRIV = None

        def GET(self) -> str:
            return 'constants'

        def OPTIONS(self) -> str:
            return 'options'

    class WithIndex:
        exposed = True

        def GET(self) -> str:
            return 'with index'

        @expose
        def index(self) -> str:
            return 'index'

    @expose
    class ResourceClass:
        @staticmethod
        def GET(*args: str) -> str:
            return show('class', args)

    class Unexposed:
        def GET(self) -> str:
            return 'no'

        child = Fixed()

    class Collection:
        default = Resource('collection')

    class Indexed:
        index = Resource('indexed')

    class Dynamic:
        exposed = True

        def _cp_dispatch(self, vpath: list[str]) -> Any:
            return Resource('dynamic ' + vpath.pop(0))

        def GET(self) -> str:
            return 'dynamic itself'

    @cp.popargs('ident')
    class Popped:
        exposed = True

        def GET(self, ident: str = 'all', **kwargs: Any) -> str:
            return show('popped ' + ident, (), kwargs)

    class Root(Resource):
        thing = Resource('thing')
        fixed = Fixed()
        head = ExplicitHead()
        nomethods = NoMethods()
        constants = Constants()
        withindex = WithIndex()
        cls = ResourceClass
        unexposed = Unexposed()
        collection = Collection()
        at = Indexed()
        dynamic = Dynamic()
        popped = Popped()

    return Root('root')


def value_root(cp: Any) -> Any:
    """Reads of request attributes, and of config: Spec A 5.4, 7 and 8."""
    expose = cp.expose

    class Branch:
        _cp_config = {'who': 'branch', 'code': 'branch'}

        @expose
        def index(self, key: str = 'who') -> str:
            return str(cp.request.config.get(key))

        index._cp_config = {'own': 'index'}  # type: ignore[attr-defined]

        @expose
        def leaf(self, *args: str, key: str = 'who') -> str:
            return str(cp.request.config.get(key))

        leaf._cp_config = {'code': 'leaf', 'leaf': 'code'}  # type: ignore[attr-defined]

        @expose
        def a_b(self, key: str = 'who') -> str:
            return str(cp.request.config.get(key))

        @expose
        def default(self, *args: str, key: str = 'who') -> str:
            return str(cp.request.config.get(key))

        default._cp_config = {'dflt': 'code'}  # type: ignore[attr-defined]

    class InstanceConfig(Branch):
        def __init__(self) -> None:
            self._cp_config = {'who': 'instance'}

    class SubBranch(Branch):
        pass

    class HiddenChild:
        _cp_config = {'hidden': 'seen', 'who': 'hidden'}

    class WithHidden(Branch):
        hidden = HiddenChild()

    class Root:
        _cp_config = {'who': 'root', 'root': 'code'}
        branch = Branch()
        instance = InstanceConfig()
        sub = SubBranch()
        withhidden = WithHidden()

        @expose
        def index(self, key: str = 'who') -> str:
            return str(cp.request.config.get(key))

        @expose
        def get(self, name: str) -> str:
            value: Any = cp
            for part in name.split('.'):
                value = getattr(value, part)
            if isinstance(value, dict):
                value = sorted(value.items())
            return repr(value)

        @expose
        def header(self, name: str) -> str:
            return repr(cp.request.headers.get(name))

        @expose
        def headers(self) -> str:
            return repr(sorted(cp.request.headers.items()))

        @expose
        def app_config(self, section: str, key: str) -> str:
            return repr(cp.request.app.config.get(section, {}).get(key))

        @expose
        def find(self, path: str, key: str) -> str:
            return repr(cp.request.app.find_config(path, key, 'default'))

        @expose
        def fail(self) -> str:
            raise ValueError('<failed>')

        @expose
        def error(self, code: str = '404', message: str = '') -> str:
            raise cp.HTTPError(int(code), message or None)

        @expose
        def redirect(self, to: str, status: str = '') -> str:
            raise cp.HTTPRedirect(to, int(status) if status else None)

        @expose
        def toolmap(self) -> str:
            return repr(sorted((k, sorted(v.items())) for k, v in cp.request.toolmaps['tools'].items()))

    return Root()
