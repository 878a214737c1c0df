"""The look of the page of `cpstats`: one HTML document with its style, its script and its bars, no other file.

It shows what it is given; every text is escaped here. The script and the style are named by a nonce, so nothing else
that got into the page could run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .appstats import BOUNDS, SECONDS

__all__ = ['Html', 'make_page', 'policy']


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def policy(nonce: str) -> str:
    """Give the Content-Security-Policy of the page."""
    return (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --paper: #fff; --ink: #1b1f24; --faint: #5b6672; --rule: #dde1e6; --bar: #3a76c4; --bad: #c0392b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --paper: #1d2125; --ink: #e6e9ec; --faint: #98a3ae; --rule: #343a41; --bar: #6aa5ee;
    --bad: #f0776a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header, main { max-width: 76rem; margin: 0 auto; padding: 1rem 1.25rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 2rem; align-items: baseline; padding-bottom: 0; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; }
h3 { font-size: .95rem; margin: 1rem 0 .4rem; }
header p { margin: 0; color: var(--faint); }
header form { margin: 0; }
.buttons { margin-left: auto; display: flex; gap: .5rem; }
input[type=submit] { font: inherit; padding: .2rem .8rem; }
.note { color: var(--faint); margin: .25rem 0 1rem; }
.paused { color: var(--bad); font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: .8rem; margin: 0 0 .8rem; }
.card, section { background: var(--paper); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem 1rem; }
section { margin-bottom: .8rem; }
.card { margin: 0; }
.card dt { color: var(--faint); }
.card dd { margin: 0; }
.card .big { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card .small { color: var(--faint); font-size: .87rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 0 .8rem; }
svg { display: block; width: 100%; height: 7.5rem; }
svg rect { fill: var(--bar); }
svg rect.bad { fill: var(--bad); }
svg line { stroke: var(--rule); }
.scale { display: flex; justify-content: space-between; color: var(--faint); font-size: .82rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-top: 1px solid var(--rule); vertical-align: top; }
thead th { border-top: 0; color: var(--faint); font-weight: 500; white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
.t { white-space: nowrap; }
.n + .t, .n + .w { padding-left: 1rem; }
td form { display: inline-block; margin-right: .5rem; }
.w { overflow-wrap: anywhere; min-width: 14rem; width: 50%; }
td.none { color: var(--faint); }
@media (max-width: 30rem) { .pair { grid-template-columns: 1fr; } }
"""

# Texts, bars and rows are set as text, never as HTML. A page that cannot be renewed says so.
_SCRIPT = """
'use strict';
const every = 2000;
let enabled = document.body.dataset.enabled;
function setTexts(texts) {
  for (const [name, text] of Object.entries(texts)) {
    for (const place of document.querySelectorAll('[data-text="' + name + '"]')) place.textContent = text;
  }
}
function setBars(name, pairs) {
  const highest = Math.max(1, ...pairs.map(pair => pair[0]));
  const bars = document.querySelectorAll('[data-bars="' + name + '"] g');
  pairs.forEach((pair, index) => {
    const group = bars[index];
    if (!group) return;
    group.querySelectorAll('rect').forEach((bar, which) => {
      const height = 100 * pair[which] / highest;
      bar.setAttribute('y', 100 - height);
      bar.setAttribute('height', height);
    });
    const title = group.querySelector('title');
    title.textContent = title.dataset.label + ': ' + pair[0] + (pair[1] ? ', failed: ' + pair[1] : '');
  });
  const top = document.querySelector('[data-top="' + name + '"]');
  if (top) top.textContent = highest;
}
function setTable(name, rows) {
  const table = document.querySelector('[data-table="' + name + '"]');
  const heads = table.querySelectorAll('thead th');
  const body = document.createElement('tbody');
  for (const row of rows.length ? rows : [null]) {
    const line = body.insertRow();
    if (row === null) {
      const cell = line.insertCell();
      cell.colSpan = heads.length;
      cell.className = 'none';
      cell.textContent = 'none';
      continue;
    }
    row.forEach((text, index) => {
      const cell = line.insertCell();
      cell.className = heads[index].className;
      cell.textContent = text;
    });
  }
  table.replaceChild(body, table.tBodies[0]);
}
async function renew() {
  const state = document.getElementById('state');
  if (!document.hidden) {
    try {
      const answer = await fetch('live', {cache: 'no-store', credentials: 'same-origin'});
      if (!answer.ok) throw new Error(answer.status + ' ' + answer.statusText);
      const view = await answer.json();
      if (String(view.enabled) !== enabled) { location.reload(); return; }
      setTexts(view.texts);
      for (const [name, pairs] of Object.entries(view.bars)) setBars(name, pairs);
      for (const [name, rows] of Object.entries(view.tables)) setTable(name, rows);
      state.textContent = '';
    } catch (error) {
      state.textContent = 'No answer: these numbers are old (' + error.message + ').';
    }
  }
  setTimeout(renew, every);
}
setTimeout(renew, every);
"""

_SECONDS = 'Requests in each second of the last minute'
_LATENCY = 'Response times, streams left out'

# (what, its text, what stands below it)
_CARDS = (
    ('Requests/second', 'rate', (('', 'rate-minute', ' in the last minute'),)),
    ('Median response', 'p50', (('95 %: ', 'p95', ''), ('99 %: ', 'p99', ''))),
    ('Being served', 'current', (('', 'streams', ' of them open streams'),)),
    ('Server errors', 'errors', (('', 'error-share', ' of all'), ('client errors: ', 'client-errors', ''))),
    ('Requests', 'requests', (('since ', 'since', ''),)),
    ('Sent', 'written', (('received: ', 'read', ''),)),
)

# name -> heading, (column, class) pairs
_TABLES: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    'slowest': (
        'Slowest pages',
        (('Page', 'w'), ('Requests', 'n'), ('Median', 'n'), ('95 %', 'n'), ('Longest', 'n'), ('Together', 'n')),
    ),
    'failing': (
        'Failing pages',
        (('Page', 'w'), ('Server errors', 'n'), ('Client errors', 'n'), ('Share', 'n'), ('Last failure', 'w')),
    ),
    'open': ('Being served', (('Request', 'w'), ('Connection from', 't'), ('For', 'n'), ('State', 't'))),
    'slow': ('Slow requests', (('Began', 't'), ('Request', 'w'), ('Took', 'n'), ('Client', 't'))),
    'failures': ('Last failures', (('Began', 't'), ('Request', 'w'), ('Status', 't'), ('Client', 't'))),
}


def _escape(text: Any) -> str:
    if isinstance(text, Html):
        return text
    from html import escape

    return escape(str(text))


def make_page(view: dict[str, Any], buttons: Callable[[Any], str], namespaces: Iterable[Any], nonce: str) -> str:
    """Make the page.

    view: what StatsPage.live gives. buttons: makes the buttons, given whether counting is on. namespaces: what else
    there is to show, as StatsPage.get_namespaces gives it. nonce: what the policy names.
    """
    texts = view['texts']

    def text(name: str) -> str:
        return f'<span data-text="{name}">{_escape(texts[name])}</span>'

    cards = []
    for title, name, below in _CARDS:
        small = '<br>'.join(f'{before}{text(key)}{after}' for before, key, after in below)
        cards.append(
            f'<dl class="card"><dt>{title}</dt><dd class="big">{text(name)}</dd><dd class="small">{small}</dd></dl>'
        )
    paused = '' if view['enabled'] else '<p class="paused">Counting is paused.</p>'
    site = f', site {text("site")}' if texts['site'] else ''
    enabled = 'true' if view['enabled'] else 'false'
    tables = {name: _table(name, rows) for name, rows in view['tables'].items()}
    seconds = [f'{SECONDS - 1 - index} s ago' for index in range(SECONDS)]
    latency = [f'up to {_bound(bound)}' for bound in BOUNDS] + [f'over {_bound(BOUNDS[-1])}']
    top = max(1, *(pair[0] for pair in view['bars']['seconds']))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Statistics of process {_escape(texts['process'])}</title>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style nonce="{nonce}">{_STYLE}</style>
</head>
<body data-enabled="{enabled}">
<header>
<h1>Statistics</h1>
<p>process {text('process')}{site}, {text('now')}</p>
{paused}<div class="buttons">{buttons(view['enabled'])}</div>
</header>
<main>
<p class="note">These are the numbers of one process. Where a server runs several workers, each counts what it served
itself, and another look may meet another one. <span id="state" class="paused" role="status"></span></p>
<div class="cards">
{_newline(cards)}
</div>
<div class="pair">
<section><h2>{_SECONDS}</h2>
{_bars('seconds', _SECONDS, view['bars']['seconds'], seconds)}
<div class="scale"><span>{SECONDS} s ago</span><span>highest: <span data-top="seconds">{top}</span></span>
<span>now</span></div>
</section>
<section><h2>{_LATENCY}</h2>
{_bars('latency', _LATENCY, view['bars']['latency'], latency)}
<div class="scale"><span>{_bound(BOUNDS[0])}</span><span>longest: {text('longest')}</span>
<span>over {_bound(BOUNDS[-1])}</span></div>
</section>
</div>
{tables['slowest']}
{tables['failing']}
{tables['open']}
{tables['slow']}
{tables['failures']}
{_newline(_namespace(*entry) for entry in namespaces)}
<p class="note">The same numbers: <a href="data">JSON</a>, <a href="metrics">Prometheus</a>.
cpadapter {text('version')}</p>
</main>
<script nonce="{nonce}">{_SCRIPT}</script>
</body>
</html>
"""


def _newline(parts: Iterable[str]) -> str:
    return '\n'.join(parts)


def _bound(seconds: float) -> str:
    return f'{seconds:g} s' if seconds >= 1 else f'{seconds * 1000:g} ms'


def _bars(name: str, heading: str, pairs: list[list[int]], labels: list[str]) -> str:
    """Draw bars, one for each pair: all, and in front of it those that failed."""
    highest = max(1, *(pair[0] for pair in pairs))
    groups = []
    for index, (pair, label) in enumerate(zip(pairs, labels, strict=True)):
        failed = f', failed: {pair[1]}' if pair[1] else ''
        rects = ''
        for kind, value in zip(('all', 'bad'), pair, strict=True):
            height = 100 * value / highest
            rects += (
                f'<rect class="{kind}" x="{index * 10 + 1}" width="8" y="{100 - height:.2f}" height="{height:.2f}"/>'
            )
        groups.append(f'<g><title data-label="{label}">{label}: {pair[0]}{failed}</title>{rects}</g>')
    width = len(pairs) * 10
    return (
        f'<svg data-bars="{name}" viewBox="0 0 {width} 101" preserveAspectRatio="none" role="img" '
        f'aria-label="{heading}">'
        f'{"".join(groups)}<line x1="0" y1="100.5" x2="{width}" y2="100.5"/></svg>'
    )


def _table(name: str, rows: list[list[str]]) -> str:
    title, columns = _TABLES[name]
    return (
        f'<section><h2>{title}</h2><div class="scroll"><table data-table="{name}">'
        f'{_heads(columns)}{_body(rows, [kind for _, kind in columns])}</table></div></section>'
    )


def _heads(columns: Iterable[tuple[Any, str]]) -> str:
    cells = ''.join(f'<th scope="col" class="{kind}">{_escape(column)}</th>' for column, kind in columns)
    return f'<thead><tr>{cells}</tr></thead>'


def _body(rows: list[list[Any]], kinds: list[str]) -> str:
    if not rows:
        return f'<tbody><tr><td class="none" colspan="{max(1, len(kinds))}">none</td></tr></tbody>'
    lines = []
    for row in rows:
        cells = ''.join(f'<td class="{kind}">{_escape(value)}</td>' for value, kind in zip(row, kinds, strict=False))
        lines.append(f'<tr>{cells}</tr>')
    return f'<tbody>{"".join(lines)}</tbody>'


def _namespace(
    title: str, scalars: list[tuple[str, Any]], collections: list[tuple[str, list[Any], list[list[Any]]]]
) -> str:
    """Show a namespace of somebody else's."""
    rows = [[name, value] for name, value in scalars]
    parts = [f'<section><h2>{_escape(title)}</h2>']
    if rows:
        parts.append(f'<div class="scroll"><table>{_body(rows, ["t", "w"])}</table></div>')
    for name, headings, lines in collections:
        columns = [(heading, '') for heading in headings]
        parts.append(
            f'<h3>{_escape(name)}</h3><div class="scroll"><table>{_heads(columns)}'
            f'{_body(lines, [kind for _, kind in columns])}</table></div>'
        )
    parts.append('</section>')
    return ''.join(parts)
