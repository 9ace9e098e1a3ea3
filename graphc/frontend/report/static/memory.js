// The memory map: addresses upwards, launches to the right, one rectangle a buffer.

const KINDS = ['parameter', 'gradient', 'optimizer', 'buffer', 'argument', 'result', 'saved', 'activation', 'workspace', 'number'];

class Memory {
  constructor() {
    this.legend = el('div', { class: 'legend' });
    this.picture = el('div', { style: { flex: '1.2', minHeight: '160px' } });
    this.table = el('tbody');
    this.node = el('div', { class: 'column' }, el('div', { class: 'why' }, this.legend), this.picture,
      el('div', { class: 'scroll', style: { flex: 1, borderTop: '1px solid var(--line)' } }, el('table', {}, el('thead', {}, el('tr', {},
        el('th', {}, 'bytes'), el('th', {}, 'at peak'), el('th', {}, 'lives'), el('th', { class: 'text' }, 'place'), el('th', { class: 'text' }, 'kind'), el('th', { class: 'text' }, 'value'))), this.table)));
    new ResizeObserver(() => this.unit && this.paint()).observe(this.picture);
  }

  draw(unit) {
    this.unit = unit;
    const held = new Map();
    for (const s of unit.held) held.set(s.kind, (held.get(s.kind) ?? 0) + s.bytes);
    fill(this.legend, KINDS.filter((k) => held.get(k)).map((k) => el('span', {}, el('i', { class: 'dot', style: { background: `var(--${k})` } }), `${k} ${size(held.get(k))}`)),
      el('b', { class: 'ink' }, `peak ${size(R.numbers.peak_bytes ?? sum(unit.held, (s) => s.bytes))}`),
      el('span', { class: 'faint' }, `arena ${size(unit.arena)}; no plan could be under ${size(unit.bound)}`));
    this.paint();
    this.rows();
  }

  rows() {
    const u = this.unit, held = new Set(u.held), first = new Set();
    const own = u.slots.filter((s) => { const key = s.space === 'arena' ? s.name : s.space + s.index; return !first.has(key) && first.add(key); });
    const mark = (s) => Math.max(...u.slots.filter((t) => t === s || (s.space !== 'arena' && t.space === s.space && t.index === s.index)).map((t) => state.marks.of('slots', u, t.name)));
    const marks = new Map(state.marks.empty ? [] : own.map((s) => [s, mark(s)]));
    own.sort((a, b) => (marks.get(b) ?? 0) - (marks.get(a) ?? 0) || b.bytes - a.bytes);
    fill(this.table, own.slice(0, 1500).map((s) => el('tr', { class: `m${marks.get(s) ?? 0}`, ...selects(selSlot(u, s.name)) },
      el('td', {}, size(s.bytes)), el('td', {}, held.has(s) ? '●' : ''), el('td', {}, s.space === 'arena' ? `${s.first}–${s.last}` : 'always'),
      el('td', { class: 'text', style: { width: 'auto', maxWidth: 'none' } }, s.space === 'arena' ? `0x${s.index.toString(16).padStart(5, '0')}` : `${s.space} ${s.index}`),
      el('td', { class: 'text', style: { width: 'auto', maxWidth: 'none' } }, el('i', { class: 'dot', style: { background: `var(--${s.kind})` } }), s.kind),
      el('td', { class: 'text' }, `%${s.name}: ${s.spec} `, el('span', { class: 'faint' }, s.where >= 0 ? whereText(wheres[s.where]) : '')))));
    if (state.reveal) this.table.parentElement.parentElement.scrollTop = 0;
  }

  paint() {
    const u = this.unit, width = this.picture.clientWidth, height = this.picture.clientHeight;
    if (!width || !height) return;
    const most = Math.max(u.arena, 1), n = Math.max(1, u.launches.length);
    const x = (i) => 66 + (i / n) * (width - 80), y = (b) => height - 22 - (b / most) * (height - 36);
    const arena = u.slots.filter((s) => s.space === 'arena');
    const axis = [0, 0.25, 0.5, 0.75, 1].map((f) => [
      svg('line', { x1: 66, x2: width - 14, y1: y(f * most), y2: y(f * most), class: 'axis' }),
      svg('text', { x: 60, y: y(f * most) + 4, 'text-anchor': 'end' }, size(f * most))]);
    const step = niceStep(n / 8) || 1, ruler = [];
    for (let i = 0; i < n && x(i) < width - 80; i += Math.max(1, step)) ruler.push(svg('text', { x: x(i), y: height - 7 }, i));
    fill(this.picture, svg('svg', { height, viewBox: `0 0 ${width} ${height}`, class: state.marks.empty ? '' : 'chosen' },
      axis, ruler, svg('text', { x: width - 14, y: height - 7, 'text-anchor': 'end' }, 'launch'),
      arena.map((s) => this.block(s, x, y)),
      svg('line', { x1: 66, x2: width - 14, y1: y(u.bound), y2: y(u.bound), class: 'limit' }),
      svg('line', { x1: x(u.peak + 0.5), x2: x(u.peak + 0.5), y1: 10, y2: height - 22, class: 'limit' }),
      svg('text', { x: x(u.peak + 0.5) + 4, y: 12 }, `peak, at launch ${u.peak}`),
      !arena.length && svg('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'no temporaries: everything is fused away or state')));
  }

  block(s, x, y) {
    const u = this.unit, level = state.marks.of('slots', u, s.name);
    return tipped(svg('rect', {
      x: x(s.first), y: y(s.index + s.bytes), width: Math.max(1, x(s.last + 1) - x(s.first)), height: Math.max(1, y(s.index) - y(s.index + s.bytes)),
      class: `block m${level}`, fill: `var(--${s.kind})`, ...selects(selSlot(u, s.name)),
    }), () => slotText(s));
  }
}

function slotText(s) {
  return `%${s.name}: ${s.spec}\n${size(s.bytes)} ${s.kind}, ${s.space === 'arena' ? `at 0x${s.index.toString(16)}, launches ${s.first} to ${s.last}` : `${s.space} ${s.index}`}`
    + `${s.where >= 0 ? `\n${whereText(wheres[s.where])}` : ''}`;
}
