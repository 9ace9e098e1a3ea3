// The kernels: a table, and of one its loops, its plan, its code, and why it ends where it ends.

const COLUMNS = [
  ['time', (k, u) => k.seconds, (k, u) => [share(k.seconds / u.seconds), time(k.seconds)]],
  ['share', (k, u) => k.seconds, (k, u) => percent(k.seconds / u.seconds)],
  ['calls', (k) => k.calls, (k) => k.calls],
  ['FLOP/s', (k, u) => (u.measured ? k.flops / k.seconds : k.flops), (k, u) => (u.measured ? count(k.flops / k.seconds || 0) : `${count(k.flops)}F`)],
  ['B/s', (k, u) => (u.measured ? k.bytes / k.seconds : k.bytes), (k, u) => (u.measured ? size(k.bytes / k.seconds || 0) : size(k.bytes))],
  ['of peak', (k) => k.floor / k.seconds, (k, u) => (u.measured && R.peaks ? percent(k.floor / k.seconds) : '–')],
  ['kernel', (k) => k.name, (k) => k.name, 'text'],
];

const share = (part) => el('i', { class: 'share', style: { width: `${46 * Math.min(1, part)}px` } });

class Kernels {
  constructor() {
    this.body = el('tbody');
    this.sort = { column: 0, down: true };
    this.heads = el('tr', {}, COLUMNS.map(([name, , , kind], i) => el('th', {
      class: kind ?? '', onclick: () => { this.sort = { column: i, down: i === this.sort.column ? !this.sort.down : i < 6 }; this.rows(); },
    }, name)));
    this.detail = el('div', { class: 'detail' });
    this.node = el('div', { class: 'column' }, el('div', { class: 'scroll', style: { flex: 1 } },
      el('table', {}, el('thead', {}, this.heads), this.body)), this.detail);
  }

  draw(unit) {
    this.unit = unit;
    this.rows();
    const s = state.parsed;
    const marked = [...state.marks.kernels].filter(([key, level]) => level === 2 && key.startsWith(`${unit.id}:`)).map(([key]) => unit.kernels[cut(key, ':')[1]]);
    const chosen = s?.kind === 'kernel' && s.unit === unit ? s.item : s?.kind === 'launch' && s.unit === unit ? unit.kernels[s.item.kernel]
      : marked.sort((a, b) => b.seconds - a.seconds)[0] ?? this.shown ?? [...unit.kernels].sort((a, b) => b.seconds - a.seconds)[0];
    this.show(chosen);
    if (state.reveal) this.body.querySelector('.m2')?.scrollIntoView({ block: 'nearest' });
  }

  rows() {
    const { unit, sort } = this, value = COLUMNS[sort.column][1];
    const sorted = [...unit.kernels].sort((a, b) => { const x = value(a, unit), y = value(b, unit); return (x < y ? -1 : x > y ? 1 : 0) * (sort.down ? -1 : 1); });
    fill(this.body, sorted.map((k) => el('tr', { class: `m${state.marks.of('kernels', unit, k.id)}`, ...selects(selKernel(unit, k.id)) },
      COLUMNS.map(([, , shown, kind]) => el('td', { class: kind ?? '' }, shown(k, unit))))));
  }

  show(k) {
    if (!k) { fill(this.detail, el('p', { class: 'pad soft' }, 'This program launches nothing.')); return; }
    this.shown = k;
    const levels = ['loops', ...(k.plan ? ['plan'] : []), ...this.unit.codes];
    const level = levels.includes(state.level) ? state.level : 'loops';
    const key = `${this.unit.id} ${k.id} ${level}`;
    if (key !== this.key) this.build(k, levels, level);
    else this.view?.refresh();
    this.key = key;
    if (state.reveal) this.view?.reveal();
  }

  build(k, levels, level) {
    const notes = readable(k.note).split('; ').filter(Boolean);
    const code = el('div', { class: 'two' });
    fill(this.detail,
      el('div', { class: 'bar-line' }, el('span', { class: 'toggle' }, levels.map((name) => el('button', {
        'aria-pressed': name === level, onclick: () => go({ level: name }),
      }, name))), el('code', {}, k.name), el('span', { class: 'soft' }, `${k.kind} · ${many(k.calls, 'launch', 'launches')}`)),
      notes.length ? el('div', { class: 'notes' }, el('h2', {}, 'ends here because'), el('ul', {}, notes.slice(0, 40).map((n) => el('li', {}, irTokens(this.unit, n))))) : null,
      code);
    this.view = null;
    if (level === 'loops') this.loops(code, k);
    else if (level === 'plan') this.plain(code, k.plan);
    else this.code(code, k, level);
  }

  loops(place, k) {
    const meaning = kernelMeaning(this.unit, k.rows, k.rows.map((id) => R.rows[id]), k.id);
    const made = listing({ count: k.rows.length, row: (i) => irRow(this.unit, k.rows[i], meaning.sel(i)), level: (i) => meaning.level(i) });
    fill(place, made.frame);
    this.view = made.view;
  }

  code(place, k, level) {
    fill(place, el('p', { class: 'pad soft' }, 'unpacking …'));
    codeOf(this.unit, level, k.id).then((text) => {
      if (this.shown !== k) return;
      this.plain(place, text || `not kept for this kernel, which is not among the slowest:\nprint(step.kernels[${k.id}].${level}), or report(..., assembly=True)`);
    });
  }

  plain(place, text) {
    const rows = text.replace(/\n$/, '').split('\n');
    const made = listing({
      count: rows.length,
      row: (i) => el('div', { class: 'row' }, el('span', { class: 'cell no' }, i + 1), el('span', { class: 'text' }, rows[i])),
    });
    fill(place, made.frame);
    this.view = made.view;
  }
}
