// Why it was compiled again, and what each call is compared with.

class Guards {
  constructor() {
    this.filter = el('input', { type: 'search', placeholder: 'filter', 'aria-label': 'filter guards', oninput: () => this.list() });
    this.rows = el('tbody');
    this.node = el('div', { class: 'pad' });
  }

  draw() {
    fill(this.node,
      el('h2', {}, `recompiles: ${R.recompiles.length || 'none'}`), this.recompiles(),
      el('h2', { style: { marginTop: '18px' } }, 'sizes'), R.sizes.length ? el('pre', { style: { margin: 0 } }, R.sizes.join('\n')) : el('p', { class: 'soft' }, 'All sizes are fixed.'),
      el('h2', { style: { marginTop: '18px' } }, `guards: ${R.guards.length}`),
      el('p', { class: 'soft' }, 'Python state that the trace read. Each call compares it; where it differs, the step is traced again.'),
      this.filter, el('table', {}, el('thead', {}, el('tr', {}, ['what', 'value', 'read at'].map((t) => el('th', { class: 'text' }, t)))), this.rows));
    this.list();
  }

  recompiles() {
    if (!R.recompiles.length) return el('p', { class: 'soft' }, 'Every call so far ran the code of the first one of its kind.');
    return el('table', {}, el('thead', {}, el('tr', {}, ['what', 'was', 'became', 'read at', 'took', 'what to do'].map((t) => el('th', { class: 'text' }, t)))),
      el('tbody', {}, R.recompiles.map((r) => el('tr', r.at[0] >= 0 ? selects(selLine(...r.at)) : {},
        [r.what, r.old, r.new, placed(...r.at), `${r.ms.toFixed(0)} ms`, r.fix].map((t) => el('td', { class: 'text wide', style: { width: 'auto' } }, t))))));
  }

  list() {
    const wanted = this.filter.value.toLowerCase();
    const found = R.guards.filter((g) => `${g[0]} ${g[1]}`.toLowerCase().includes(wanted));
    fill(this.rows, found.slice(0, 500).map(([what, value, file, line]) => el('tr', {
      class: file >= 0 ? `m${state.marks.lines.get(lineKey(file, line)) ?? 0}` : '', ...(file >= 0 ? selects(selLine(file, line)) : {}),
    }, [what, value, placed(file, line)].map((t) => el('td', { class: 'text wide', style: { width: 'auto' } }, t)))),
    found.length > 500 && el('tr', {}, el('td', { class: 'text wide soft' }, `and ${found.length - 500} more`)));
  }
}

const placed = (file, line) => (file >= 0 ? `${R.files[file].path}:${line}` : '');
