// The record, and what follows from it: who belongs to whom, and the time and memory of each place.

const R = JSON.parse(byId('record').textContent);
const PHASES = { '': 'forward', bw: 'backward', opt: 'optimizer' };
const COLOUR = { '': 'var(--fw)', bw: 'var(--bw)', opt: 'var(--opt)' };

/** A where: `phase`, `file` and `line` as shown, module `scope`, and `stack` of [file, line, function]. */
const wheres = R.wheres.map(([phase, file, line, scope, stack], id) => ({
  id, phase, file, line, scope, stack: R.stacks[stack] ?? [],
}));
const whereText = (w) => [w.phase, w.file && `${w.file}:${w.line}`, w.scope].filter(Boolean).join(' ');
const lineKey = (file, line) => `${file}:${line}`;

/** What a value was called when it was traced: `%7.2` took the place of `%7`. */
const root = (name) => name.replace(/^(%\d+)(\.\d+)+$/, '$1');

const units = R.units.map(makeUnit);
const lines = perLine();
const totals = {
  seconds: sum(units, (u) => u.seconds),
  measured: units.some((u) => u.measured),
  launches: sum(units, (u) => sum(u.launches, (x) => x.times)),
  kernels: sum(units, (u) => u.kernels.length),
};

function makeUnit(raw, id) {
  const measured = raw.launches.some((x) => x.s !== null);
  const u = { ...raw, id, measured };
  u.values = new Map(raw.values.map(([name, where, by, args]) => [name, { name, where, by, args, users: [] }]));
  for (const v of u.values.values()) for (const a of v.args) u.values.get(a)?.users.push(v.name);
  u.family = new Map(); // a value and all that took its place: %7, %7.1, %7.2
  for (const name of u.values.keys()) grouped(u.family, root(name)).push(name);
  u.slots = raw.slots.map(([name, spec, space, index, bytes, first, last, kind, where]) => (
    { name, spec, space, index, bytes, first, last, kind, where, writers: [], readers: [] }));
  u.slotOf = new Map(u.slots.map((s) => [s.name, s]));
  u.kernels = raw.kernels.map((k, i) => ({ ...k, id: i, launches: [], calls: 0, seconds: 0, flops: 0, bytes: 0 }));
  let now = 0;
  u.launches = raw.launches.map((x, i) => {
    const seconds = x.s ?? guess(x);
    const launch = { ...x, id: i, seconds, begin: now, bytes: x.read + x.written, floor: floorOf(x) };
    launch.where = launch.shares.length ? wheres[launch.shares[0][0]] : null;
    launch.phase = launch.where?.phase ?? '';
    now += seconds;
    const k = u.kernels[x.kernel];
    k.launches.push(i);
    k.calls += x.times;
    k.seconds += seconds; k.flops += x.flops; k.bytes += launch.bytes;
    k.floor = (k.floor ?? 0) + launch.floor;
    for (const name of x.writes) u.slotOf.get(name)?.writers.push(i);
    for (const name of x.reads) u.slotOf.get(name)?.readers.push(i);
    return launch;
  });
  u.seconds = now;
  u.launchesOf = new Map();
  for (const x of u.launches) for (const v of x.values) grouped(u.launchesOf, v).push(x.id);
  return Object.assign(u, peakOf(u));
}

/** The least time that the machine needs for a launch; without its peaks those of a usual one. */
function floorOf(x) {
  const peaks = R.peaks ?? { flops: 1e11, bytes: 2e10 };
  return Math.max(x.flops / peaks.flops, (x.read + x.written) / peaks.bytes);
}

/** What a launch may take, where nothing was measured. */
function guess(x) { return floorOf(x) + 2e-7; }

/** Bytes of the arena that are live at each launch, and at which launch they are most. */
function peakOf(u) {
  const live = new Array(u.launches.length + 1).fill(0);
  for (const s of u.slots) {
    if (s.space !== 'arena') continue;
    for (let i = Math.max(0, s.first); i <= Math.min(s.last, live.length - 1); i += 1) live[i] += s.bytes;
  }
  const peak = live.indexOf(Math.max(...live));
  const held = new Map(); // at that launch: each place of memory once
  for (const s of u.slots) {
    if (s.space === 'arena' ? s.first <= peak && peak <= s.last : true) {
      const key = s.space === 'arena' ? s.name : `${s.space}${s.index}`;
      if (!held.has(key)) held.set(key, s);
    }
  }
  return { live, peak, held: [...held.values()] };
}

/** For each line of a file: seconds of its own and through what it calls, bytes at the peak, kernels. */
function perLine() {
  const found = new Map();
  const at = (file, line) => {
    const key = lineKey(file, line);
    return found.get(key) ?? found.set(key, { file, line, own: 0, total: 0, bytes: 0, kernels: new Set() }).get(key);
  };
  const visit = (where, add) => {
    const seen = new Set();
    wheres[where].stack.forEach(([file, line], depth) => {
      const key = lineKey(file, line);
      if (!seen.has(key)) add(at(file, line), depth === 0);
      seen.add(key);
    });
  };
  for (const u of units) {
    for (const x of u.launches) {
      for (const [where, part] of x.shares) {
        if (where < 0) continue;
        visit(where, (row, own) => {
          row.total += part * x.seconds;
          if (own) { row.own += part * x.seconds; row.kernels.add(`${u.id}:${x.kernel}`); }
        });
      }
    }
    for (const s of u.held) if (s.where >= 0) visit(s.where, (row, own) => { if (own) row.bytes += s.bytes; });
  }
  return found;
}

/** The code of kernels, unpacked when it is first looked at: a promise of one table a unit. */
let unpacked = null;
function codeOf(unit, level, kernel) {
  unpacked ??= unpack(byId('packed').textContent);
  return unpacked.then((all) => all[unit.id]?.[level]?.[kernel] ?? '');
}

async function unpack(letters) {
  const bytes = Uint8Array.from(atob(letters), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  return JSON.parse(await new Response(stream).text());
}
