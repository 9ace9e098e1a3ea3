// A selection, and everything that became of it or that it came from.
//
// A selection is a text, so that it stands in the page's address:
//   line:FILE:NUMBER   module:SCOPE   value:UNIT:%NAME   kernel:UNIT:N   launch:UNIT:N   slot:UNIT:NAME
// What belongs to it is marked 2; what is only near it is marked 1: what a line calls, the operands
// and readers of a value, who else touches a buffer.

const selLine = (file, line) => `line:${R.files[file]?.path ?? file}:${line}`;
const selValue = (u, name) => `value:${u.id}:${name}`;
const selKernel = (u, k) => `kernel:${u.id}:${k}`;
const selLaunch = (u, i) => `launch:${u.id}:${i}`;
const selSlot = (u, name) => `slot:${u.id}:${name}`;
const selModule = (scope) => `module:${scope}`;

/** The parts of a selection, or null where it names nothing of this page. */
function parsed(sel) {
  const [kind, rest] = cut(sel ?? '', ':');
  if (kind === 'line') {
    const at = rest.lastIndexOf(':');
    const file = R.files.findIndex((f) => f.path === rest.slice(0, at));
    return file < 0 ? null : { kind, file, line: Number(rest.slice(at + 1)) };
  }
  if (kind === 'module') return { kind, scope: rest };
  const [number, name] = cut(rest, ':');
  const unit = units[Number(number)];
  if (!unit) return null;
  const item = {
    value: () => unit.values.get(name), slot: () => unit.slotOf.get(name),
    kernel: () => unit.kernels[name], launch: () => unit.launches[name],
  }[kind]?.();
  return item ? { kind, unit, item } : null;
}

function cut(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

class Marks {
  constructor() {
    for (const kind of ['wheres', 'lines', 'values', 'kernels', 'launches', 'slots']) this[kind] = new Map();
    this.empty = true;
  }

  add(kind, key, level) {
    this.empty = false;
    this[kind].set(key, Math.max(level, this[kind].get(key) ?? 0));
  }

  /** Of one unit: how many of a kind belong to the selection. */
  count(kind, unit) {
    let n = 0;
    for (const [key, level] of this[kind]) n += level === 2 && String(key).startsWith(`${unit.id}:`);
    return n;
  }

  of(kind, unit, key) { return this[kind].get(`${unit.id}:${key}`) ?? 0; }
}

function marksOf(sel) {
  const m = new Marks();
  const s = parsed(sel);
  if (s) ({ line: markLine, module: markModule, value: markValue, kernel: markKernel, launch: markLaunch, slot: markSlot })[s.kind](m, s);
  return m;
}

function markLine(m, { file, line }) {
  const through = wheres.filter((w) => w.stack.some(([f, l]) => f === file && l === line));
  const own = through.filter((w) => w.stack[0][0] === file && w.stack[0][1] === line);
  const strong = new Set((own.length ? own : through).map((w) => w.id));
  for (const w of through) m.add('wheres', w.id, strong.has(w.id) ? 2 : 1);
  m.add('lines', lineKey(file, line), 2);
  spread(m);
}

function markModule(m, { scope }) {
  for (const w of wheres) {
    if (w.scope === scope || w.scope.startsWith(`${scope}.`)) m.add('wheres', w.id, 2);
  }
  spread(m);
}

/** From places to what was computed, launched and kept for them. */
function spread(m) {
  for (const w of wheres) {
    const level = m.wheres.get(w.id);
    if (level && w.stack.length) m.add('lines', lineKey(w.stack[0][0], w.stack[0][1]), level);
  }
  for (const u of units) {
    for (const v of u.values.values()) if (m.wheres.has(v.where)) m.add('values', `${u.id}:${v.name}`, m.wheres.get(v.where));
    for (const s of u.slots) if (m.wheres.has(s.where)) m.add('slots', `${u.id}:${s.name}`, m.wheres.get(s.where));
    for (const x of u.launches) {
      const level = Math.max(0, ...x.shares.map(([w]) => m.wheres.get(w) ?? 0));
      if (level) { m.add('launches', `${u.id}:${x.id}`, level); m.add('kernels', `${u.id}:${x.kernel}`, level); }
    }
  }
}

/** A place in the source, with the calls that led there. */
function markPlace(m, where, level) {
  if (!(where >= 0)) return;
  m.add('wheres', where, level);
  wheres[where].stack.forEach(([file, line], depth) => m.add('lines', lineKey(file, line), depth ? 1 : level));
}

function markValue(m, { unit: u, item: v }) {
  const made = new Set();
  for (const name of u.family.get(root(v.name))) {
    const one = u.values.get(name);
    m.add('values', `${u.id}:${name}`, 2);
    for (const other of [...one.args, ...one.users]) m.add('values', `${u.id}:${other}`, 1);
    if (u.slotOf.has(name.slice(1))) m.add('slots', `${u.id}:${name.slice(1)}`, 2);
    for (const i of u.launchesOf.get(name) ?? []) made.add(i);
  }
  markPlace(m, v.where, 2);
  for (const i of made) touch(m, u, i, 2);
  if (made.size || !v.args.length) return;
  for (const other of u.values.values()) { // it was rewritten: what now stands for its place
    if (other.where === v.where && other.by) m.add('values', `${u.id}:${other.name}`, 1);
  }
  for (const x of u.launches) if (x.shares.some(([w]) => w === v.where)) touch(m, u, x.id, 1);
}

function touch(m, u, launch, level) {
  m.add('launches', `${u.id}:${launch}`, level);
  m.add('kernels', `${u.id}:${u.launches[launch].kernel}`, level);
}

function markLaunch(m, { unit: u, item: x }) {
  touch(m, u, x.id, 2);
  for (const name of x.values) m.add('values', `${u.id}:${name}`, 2);
  for (const [where] of x.shares) markPlace(m, where, 2);
  for (const name of x.reads) m.add('slots', `${u.id}:${name}`, 1);
  for (const name of x.writes) m.add('slots', `${u.id}:${name}`, 2);
}

function markKernel(m, { unit: u, item: k }) {
  m.add('kernels', `${u.id}:${k.id}`, 2);
  for (const i of k.launches) markLaunch(m, { unit: u, item: u.launches[i] });
}

function markSlot(m, { unit: u, item: s }) {
  m.add('slots', `${u.id}:${s.name}`, 2);
  for (const name of u.family.get(root(`%${s.name}`)) ?? []) m.add('values', `${u.id}:${name}`, 2);
  markPlace(m, s.where, 2);
  for (const other of u.slots) { // others at the same place, such as the old value of a state
    if (other.space !== s.space || other.index !== s.index || (s.space === 'arena' && other !== s)) continue;
    m.add('slots', `${u.id}:${other.name}`, 2);
    for (const i of other.writers) touch(m, u, i, 2);
    for (const i of other.readers) touch(m, u, i, 1);
  }
}
