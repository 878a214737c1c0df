// The page: joins a room by WebSocket or, where the server has none, by EventSource and POST, and shows what happens.
// Whatever others wrote is put into the page as text, never as HTML.

const $ = id => document.getElementById(id)
const SHOWN = 500

let me = ''
let room = ''
let line = null    // what is open to the server: leave(), send(text) -> a promise of why not, or ''
let latest = 0     // `at` of the newest message shown: what comes again after a break is left out

const address = way => new URL(`${way}/${encodeURIComponent(room)}?name=${encodeURIComponent(me)}`, document.baseURI)

// -- what the server tells

const events = {
  said({ at, name, text }) {
    if (at <= latest) return
    latest = at
    const log = $('log')
    const item = document.createElement('li')
    item.classList.toggle('mine', name === me)
    const who = item.appendChild(document.createElement('b'))
    const when = item.appendChild(document.createElement('time'))
    const what = item.appendChild(document.createElement('p'))
    who.textContent = name
    when.dateTime = new Date(at).toISOString()
    when.textContent = new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
    what.textContent = text
    who.dir = what.dir = 'auto'
    log.append(item)
    while (log.children.length > SHOWN) log.firstChild.remove()
    if (name === me) $('said').scrollTop = 0  // its end: see the style sheet
  },

  people({ count, names }) {
    $('here').textContent = `Here: ${count}`
    $('people').replaceChildren(...names.map(name => {
      const item = document.createElement('li')
      item.textContent = name
      item.dir = 'auto'
      item.classList.toggle('me', name === me)
      return item
    }))
    if (count > names.length) $('people').append(`and ${count - names.length} more`)
  },

  refused({ why, text }) {
    complain(why)
    $('text').value ||= text
  },
}

// -- the two ways to the server

function bySocket() {
  const url = address('socket')
  url.protocol = url.protocol.replace('http', 'ws')
  let left = false
  let opened = false
  let pause = 500
  let socket

  function open() {
    socket = new WebSocket(url)
    socket.onopen = () => {
      opened = true
      pause = 500
      connected('WebSocket')
    }
    socket.onmessage = message => {
      const { event, data } = JSON.parse(message.data)
      events[event]?.(data)
    }
    socket.onclose = () => {
      if (left) return
      if (!opened) {
        // This server, or something on the way to it, has no WebSockets.
        line = byEvents()
        return
      }
      disconnected()
      setTimeout(() => left || open(), pause)
      pause = Math.min(2 * pause, 10000)
    }
  }

  open()
  return {
    leave() { left = true; socket.onmessage = null; socket.close() },
    async send(text) { socket.send(text); return '' },
  }
}

function byEvents() {
  // The browser itself connects again, and says what it saw last.
  const source = new EventSource(address('events'))
  source.onopen = () => connected('server-sent events')
  source.onerror = () => disconnected(source.readyState === EventSource.CLOSED)
  for (const kind of ['said', 'people']) {
    source.addEventListener(kind, event => events[kind](JSON.parse(event.data)))
  }
  return {
    leave() { source.close() },
    async send(text) {
      const answer = await fetch(address('say').pathname, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ name: me, text }),
      })
      return answer.ok ? '' : (await answer.json()).why
    },
  }
}

function connected(way) {
  $('status').textContent = `Connected by ${way}`
  $('send').disabled = false
}

function disconnected(refused = false) {
  $('status').textContent = refused ? 'The server does not let you in.' : 'Connecting again…'
  $('send').disabled = true
}

// -- what the user does

function complain(why) {
  $('why').textContent = why
  $('why').hidden = !why
}

function show(joined) {
  $('join').hidden = joined
  $('chat').hidden = $('leave').hidden = !joined
  $('title').textContent = document.title = joined ? `Chat: ${room}` : 'Chat'
  document.body.classList.toggle('joined', joined)
}

$('join').addEventListener('submit', event => {
  event.preventDefault()
  me = $('name').value.trim().replace(/\s+/g, ' ')
  room = $('room').value.trim()
  if (!me || !room) return
  localStorage.setItem('name', me)
  location.hash = encodeURIComponent(room)
  latest = 0
  $('log').replaceChildren()
  $('people').replaceChildren()
  complain('')
  show(true)
  disconnected()
  $('status').textContent = 'Connecting…'
  line = bySocket()
  $('text').focus()
})

$('leave').addEventListener('click', () => {
  line.leave()
  $('status').textContent = ''
  show(false)
  $('name').focus()
})

$('composer').addEventListener('submit', async event => {
  event.preventDefault()
  const text = $('text').value
  if (!text.trim() || $('send').disabled) return
  complain('')
  $('text').value = ''
  let why
  try {
    why = await line.send(text)
  } catch {
    why = 'This did not reach the server.'
  }
  if (why) events.refused({ why, text })
})

$('text').addEventListener('keydown', event => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault()
    $('composer').requestSubmit()
  }
})

$('name').value = localStorage.getItem('name') ?? ''
if (location.hash.length > 1) {
  try {
    $('room').value = decodeURIComponent(location.hash.slice(1))
  } catch {
    // no name of a room
  }
}
