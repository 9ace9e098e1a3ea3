// Elements and numbers as text. Users' text enters the document here, and only as text nodes.

const byId = (id) => document.getElementById(id);

/** An element: attributes by name (`on…` are listeners, `data` is a table), then its children. */
function el(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function dressed(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('aria-')) { node.setAttribute(name, value); continue; }
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (name === 'style') Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

function fill(node, ...children) {
  node.replaceChildren(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** What stands for a place in a selection: a click on it or on anything inside selects it. */
const selects = (sel) => ({ data: { sel } });

const fixed = (x, digits) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(digits));

function time(seconds) {
  if (seconds >= 1) return `${fixed(seconds, 2)} s`;
  if (seconds >= 1e-3) return `${fixed(seconds * 1e3, 2)} ms`;
  return seconds ? `${fixed(seconds * 1e6, 2)} µs` : '0';
}

function size(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let k = -1;
  do { bytes /= 1024; k += 1; } while (bytes >= 1024 && k < units.length - 1);
  return `${fixed(bytes, 1)} ${units[k]}`;
}

/** A reason why a kernel ends, its bytes as people read them. */
const readable = (note) => note.replace(/(\d+) of (\d+) bytes|(\d+) bytes|(?<=not )(\d+)(?= to store)/g,
  (_, ...found) => found.slice(0, 4).filter(Boolean).map(size).join(' of '));
const shortened = (text, most) => (text.length > most ? `${text.slice(0, most)} …` : text);

function count(n) {
  const units = ['', 'K', 'M', 'G', 'T', 'P'];
  let k = 0;
  while (n >= 1000 && k < units.length - 1) { n /= 1000; k += 1; }
  return k ? `${fixed(n, 1)} ${units[k]}` : String(Math.round(n));
}

const percent = (x) => (x >= 0.0995 ? `${Math.round(100 * x)} %` : x >= 0.0005 ? `${(100 * x).toFixed(1)} %` : x ? '·' : '');
const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
const sum = (list, of = (x) => x) => list.reduce((total, x) => total + of(x), 0);
const grouped = (map, key) => map.get(key) ?? map.set(key, []).get(key);

/** A tip beside the pointer, for what has no room for its own text. */
function tipped(node, text) {
  const tip = byId('tip');
  node.addEventListener('pointermove', (e) => {
    tip.textContent = text();
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(e.clientX + 14, innerWidth - width - 8)}px`;
    tip.style.top = `${Math.min(e.clientY + 14, innerHeight - height - 8)}px`;
  });
  node.addEventListener('pointerleave', () => { tip.hidden = true; });
  return node;
}
