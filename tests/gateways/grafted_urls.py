"""The same paths as in grafted.py, as Django's URLs and views; a view streams as the request's protocol wants it."""

from __future__ import annotations

import asyncio

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse, HttpResponseRedirect, JsonResponse, StreamingHttpResponse
from django.urls import get_script_prefix, path, reverse
from grafted import CHUNK, CHUNKS, adownload, aendless, endless


def where(request, rest):
    return JsonResponse([get_script_prefix().rstrip('/'), request.path_info, request.META['QUERY_STRING']], safe=False)


def stream(request, plain, later):
    return StreamingHttpResponse(later if isinstance(request, ASGIRequest) else plain, content_type='text/plain')


async def later_pieces(request):
    while piece := request.read(50000):
        yield piece
        await asyncio.sleep(0)


def echo(request):
    return stream(request, iter(lambda: request.read(50000), b''), later_pieces(request))


def download(request):
    return stream(request, (CHUNK for _ in range(CHUNKS)), adownload())


def forever(request):
    name = 'django_asgi' if isinstance(request, ASGIRequest) else 'django_wsgi'
    return stream(request, endless(name), aendless(name))


def away(request):
    return HttpResponseRedirect(reverse('where', args=['there']))


def cookie(request):
    response = HttpResponse(request.META.get('HTTP_COOKIE', ''), content_type='text/plain')
    response.set_cookie('one', '1')
    response.set_cookie('two', '2')
    return response


def boom(request):
    raise LookupError('boom')


urlpatterns = [
    path('where/<path:rest>', where, name='where'),
    path('echo', echo),
    path('download', download),
    path('endless', forever),
    path('redirect', away),
    path('cookie', cookie),
    path('boom', boom),
]
