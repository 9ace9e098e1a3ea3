// One call as a line of launches: above them the modules they are of, below them live memory.

const NEAR = 1e-9;

class Timeline {
  constructor() {
    this.picture = el('div', { style: { flex: 'none' } });
    this.table = el('tbody');
    this.legend = el('div', { class: 'legend' });
    this.node = el('div', { class: 'column' }, el('div', { class: 'why' }, this.legend), this.picture,
      el('div', { class: 'scroll', style: { flex: 1 } }, el('table', {}, el('thead', {}, el('tr', {},
        ['#', 'at', 'time', 'flop', 'bytes', 'of peak'].map((t) => el('th', {}, t)), el('th', { class: 'text' }, 'launch'))), this.table)));
    new ResizeObserver(() => this.unit && this.paint()).observe(this.picture);
  }

  draw(unit) {
    if (unit !== this.unit) this.range = [0, unit.seconds || NEAR];
    this.unit = unit;
    fill(this.legend, Object.entries(PHASES).map(([p, name]) => el('span', {}, el('i', { class: 'dot', style: { background: COLOUR[p] } }),
      `${name} ${unit.measured ? time(phaseSeconds(unit, p)) : percent(phaseSeconds(unit, p) / unit.seconds)}`)),
      el('span', {}, unit.measured ? `${time(unit.seconds)} in ${many(unit.launches.length, 'launch', 'launches')}` : 'widths are estimates: call step.report(path, *batch) to measure'),
      el('span', { class: 'faint' }, 'wheel zooms, drag moves, double click shows all'));
    this.paint();
    this.rows();
  }

  rows() {
    const u = this.unit;
    fill(this.table, u.launches.map((x) => el('tr', { class: `m${state.marks.of('launches', u, x.id)}`, ...selects(selLaunch(u, x.id)) },
      [x.id, time(x.begin), time(x.seconds), count(x.flops), size(x.bytes), u.measured && R.peaks ? percent(x.floor / x.seconds) : '–'].map((t) => el('td', {}, t)),
      el('td', { class: 'text' }, el('i', { class: 'dot', style: { background: COLOUR[x.phase] } }), u.kernels[x.kernel].name, ' ',
        el('span', { class: 'faint' }, x.where ? whereText(x.where) : '')))));
    if (state.reveal) this.table.querySelector('.m2')?.scrollIntoView({ block: 'center' });
  }

  paint() {
    const width = this.picture.clientWidth;
    if (!width) return;
    const u = this.unit, [from, to] = this.range, depth = 3, high = 20;
    const x = (t) => 14 + ((t - from) / (to - from)) * (width - 28);
    const seen = u.launches.filter((l) => l.begin + l.seconds >= from && l.begin <= to);
    const top = 20 + depth * high, height = top + 128;
    const picture = svg('svg', { height, viewBox: `0 0 ${width} ${height}`, class: state.marks.empty ? '' : 'chosen' },
      this.ruler(x, from, to, height), flames(seen, depth).map((f) => this.flame(f, x, high)),
      seen.map((l) => this.launch(l, x, top)), this.memory(seen, x, top + 62, 54));
    this.listen(picture, width);
    fill(this.picture, picture);
  }

  ruler(x, from, to, height) {
    const step = niceStep((to - from) / 7), marks = [];
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      marks.push(svg('line', { x1: x(t), x2: x(t), y1: 14, y2: height - 6, class: 'axis' }),
        svg('text', { x: x(t) + (x(t) > x(to) - 50 ? -3 : 3), y: 12, 'text-anchor': x(t) > x(to) - 50 ? 'end' : 'start' }, this.unit.measured ? time(t) : percent(t / this.unit.seconds)));
    }
    return marks;
  }

  flame({ level, scope, begin, end }, x, high) {
    const w = Math.max(0.5, x(end) - x(begin) - 1), y = 18 + level * high;
    return tipped(svg('g', selects(selModule(scope)),
      svg('rect', { x: x(begin), y, width: w, height: high - 2, class: 'flame', rx: 2 }),
      w > 24 && svg('text', { x: x(begin) + 4, y: y + 13, class: 'ink', 'pointer-events': 'none' }, clipped(scope, w - 8))),
    () => `${scope}\n${time(end - begin)}`);
  }

  launch(l, x, top) {
    const u = this.unit, w = Math.max(0.7, x(l.begin + l.seconds) - x(l.begin)), k = u.kernels[l.kernel];
    return tipped(svg('g', selects(selLaunch(u, l.id)),
      svg('rect', { x: x(l.begin), y: top, width: w, height: 44, class: `block m${state.marks.of('launches', u, l.id)}`, fill: COLOUR[l.phase] }),
      l.barrier && w > 3 && svg('rect', { x: x(l.begin), y: top + 46, width: 1.2, height: 5, fill: 'var(--soft)' }),
      w > 40 && svg('text', { x: x(l.begin) + 4, y: top + 26, class: 'label' }, clipped(k.name, w - 8))),
    () => launchText(u, l));
  }

  memory(seen, x, top, height) {
    const u = this.unit, most = Math.max(1, ...u.live), y = (n) => top + height - (n / most) * height;
    if (!seen.length) return null;
    const points = seen.flatMap((l) => [`${x(l.begin)},${y(u.live[l.id])}`, `${x(l.begin + l.seconds)},${y(u.live[l.id])}`]);
    const first = x(seen[0].begin), last = x(seen.at(-1).begin + seen.at(-1).seconds);
    return [svg('polygon', { points: `${first},${y(0)} ${points.join(' ')} ${last},${y(0)}`, class: 'curve' }),
      svg('text', { x: 16, y: top + 8 }, `live temporaries, at most ${size(most)}`)];
  }

  listen(picture, width) {
    const at = (e) => this.range[0] + ((e.offsetX - 14) / (width - 28)) * (this.range[1] - this.range[0]);
    picture.addEventListener('wheel', (e) => {
      e.preventDefault();
      const t = at(e), scale = Math.exp(e.deltaY / 400);
      this.look(t - (t - this.range[0]) * scale, t + (this.range[1] - t) * scale);
    }, { passive: false });
    picture.addEventListener('dblclick', () => this.look(0, this.unit.seconds));
    dragging(picture, (dx) => {
      const moved = (-dx / (width - 28)) * (this.range[1] - this.range[0]);
      this.look(this.range[0] + moved, this.range[1] + moved);
    });
  }

  look(from, to) {
    const whole = this.unit.seconds, span = Math.min(to - from, whole);
    if (span < whole * 1e-5) return;
    from = Math.min(Math.max(0, from), whole - span);
    this.range = [from, from + span];
    this.paint();
  }
}

const phaseSeconds = (unit, phase) => sum(unit.launches.filter((x) => x.phase === phase), (x) => x.seconds);

/** Neighbouring launches of one module put together, for each depth of modules. */
function flames(launches, depth) {
  const found = [];
  for (let level = 0; level < depth; level += 1) {
    let last = null;
    for (const l of launches) {
      const path = (l.where?.scope ?? '').split('.');
      const scope = path.length > level && path[0] ? path.slice(0, level + 1).join('.') : '';
      const name = `${l.phase} ${scope}`;
      if (scope && last?.name === name && Math.abs(last.end - l.begin) < NEAR) last.end = l.begin + l.seconds;
      else { last = scope ? { level, scope, name, begin: l.begin, end: l.begin + l.seconds } : null; if (last) found.push(last); }
    }
  }
  return found;
}

function launchText(u, l) {
  const rate = u.measured && l.seconds ? `${count(l.flops / l.seconds)}FLOP/s, ${size(l.bytes / l.seconds)}/s` : `${count(l.flops)}FLOP, ${size(l.bytes)}`;
  return `${l.id}: ${u.kernels[l.kernel].name}\n${l.where ? whereText(l.where) : ''}\n${u.measured ? `${time(l.seconds)}, ` : ''}${rate}`
    + `${u.measured && R.peaks ? `, ${percent(l.floor / l.seconds)} of peak` : ''}`;
}

const clipped = (text, width) => (text.length * 6.2 <= width ? text : `${text.slice(0, Math.max(1, Math.floor(width / 6.2) - 1))}…`);

function niceStep(rough) {
  const ten = 10 ** Math.floor(Math.log10(rough || 1));
  return [1, 2, 5, 10].map((k) => k * ten).find((s) => s >= rough) ?? ten;
}

/** Calls `moved` with the pixels of each movement; a drag is no click. */
function dragging(node, moved) {
  let last = null, far = 0;
  node.addEventListener('pointerdown', (e) => { last = e.clientX; far = 0; });
  node.addEventListener('pointermove', (e) => {
    if (last === null || !e.buttons) { last = null; return; }
    far += Math.abs(e.clientX - last);
    if (far > 3) moved(e.clientX - last);
    last = e.clientX;
  });
  node.addEventListener('click', (e) => { if (far > 3) e.stopPropagation(); }, true);
}
