// The overview: where time and memory go, how long compiling took, and what a bug report needs.

const WARMEST = 12;

class Overview {
  constructor() { this.node = el('div', { class: 'pad' }); }

  draw(unit) {
    fill(this.node, el('div', { class: 'cards' },
      el('div', {}, el('h2', {}, totals.measured ? 'slowest lines' : 'heaviest lines, estimated'), this.hotLines()),
      el('div', {}, el('h2', {}, totals.measured ? 'slowest kernels' : 'heaviest kernels, estimated'), this.hotKernels(unit)),
      el('div', {}, el('h2', {}, totals.measured ? 'slowest modules' : 'heaviest modules, estimated'), this.hotModules(unit)),
      el('div', {}, el('h2', {}, 'memory at its peak'), this.memory(unit)),
      el('div', {}, el('h2', {}, 'compiling'), this.compiling(unit)),
      el('div', {}, el('h2', {}, 'for a bug report'), this.environment())));
  }

  hotLines() {
    const rows = [...lines.values()].filter((r) => r.own > 0).sort((a, b) => b.own - a.own).slice(0, WARMEST);
    return table(rows.map((r) => [selLine(r.file, r.line), state.marks.lines.get(lineKey(r.file, r.line)), [share(r.own / totals.seconds), percent(r.own / totals.seconds)],
      totals.measured ? time(r.own) : '', el('span', {}, el('span', { class: 'soft' }, `${R.files[r.file].path}:${r.line}  `), (R.files[r.file].lines[r.line - 1] ?? '').trim())]));
  }

  hotModules(u) {
    const found = new Map();
    for (const x of u.launches) for (const [w, part] of x.shares) if (w >= 0) found.set(wheres[w].scope, (found.get(wheres[w].scope) ?? 0) + part * x.seconds);
    const rows = [...found].filter(([scope]) => scope).sort((a, b) => b[1] - a[1]).slice(0, WARMEST);
    return table(rows.map(([scope, seconds]) => [selModule(scope), state.sel === selModule(scope) ? 2 : 0, [share(seconds / u.seconds), percent(seconds / u.seconds)],
      u.measured ? time(seconds) : '', scope]));
  }

  hotKernels(u) {
    const rows = [...u.kernels].sort((a, b) => b.seconds - a.seconds).slice(0, WARMEST);
    return table(rows.map((k) => [selKernel(u, k.id), state.marks.of('kernels', u, k.id), [share(k.seconds / u.seconds), percent(k.seconds / u.seconds)],
      u.measured ? time(k.seconds) : '', k.name + (k.calls > 1 ? ` ×${k.calls}` : '')]));
  }

  memory(u) {
    const total = sum(u.held, (s) => s.bytes), kinds = KINDS.map((k) => [k, sum(u.held.filter((s) => s.kind === k), (s) => s.bytes)]).filter(([, n]) => n);
    const largest = [...u.held].sort((a, b) => b.bytes - a.bytes).slice(0, 8);
    return [el('div', { class: 'stack' }, kinds.map(([k, n]) => el('i', { title: `${k} ${size(n)}`, style: { flex: String(n / total), background: `var(--${k})` } }))),
      el('div', { class: 'legend' }, kinds.map(([k, n]) => el('span', {}, el('i', { class: 'dot', style: { background: `var(--${k})` } }), `${k} ${size(n)}`))),
      table(largest.map((s) => [selSlot(u, s.name), state.marks.of('slots', u, s.name), [share(s.bytes / total), percent(s.bytes / total)], size(s.bytes), `%${s.name}: ${s.spec}`]))];
  }

  compiling(u) {
    const n = R.numbers, most = Math.max(...u.stages.map((s) => s.ms));
    const facts = n.compile_seconds === undefined ? '' : `${n.compile_seconds.toFixed(2)} s in all, ${many(n.compiles, 'compile')}; ${n.kernels_compiled} kernels compiled, ${n.cache_hits} from the cache`;
    return [el('p', { class: 'soft' }, facts), el('table', {}, el('tbody', {}, u.stages.map((s) => el('tr', { class: 'link', title: s.why, onclick: () => go({ tab: 'stages', stage: s.name }) },
      el('td', { style: { width: '120px' } }, share(s.ms / most), `${s.ms.toFixed(1)} ms`), el('td', {}, s.ops ?? ''), el('td', { class: 'text' }, s.name)))))];
  }

  environment() {
    const facts = { ...R.environment, device: units.map((u) => u.device).join(', '), peaks: R.peaks ? `${R.peaks.machine}, ${count(R.peaks.flops)}FLOP/s, ${size(R.peaks.bytes)}/s` : 'not measured' };
    const text = Object.entries(facts).map(([k, v]) => `${k.padEnd(10)} ${v}`).join('\n');
    return [el('pre', { style: { margin: '0 0 8px', whiteSpace: 'pre-wrap' } }, text),
      el('p', { class: 'soft' }, 'This page holds the text of the code that was compiled, and no weights and no data.')];
  }
}

/** Rows of [selection, level, share, amount, text]. */
function table(rows) {
  return el('table', {}, el('tbody', {}, rows.map(([sel, level, part, amount, text]) => el('tr', { class: `m${level ?? 0}`, ...selects(sel) },
    el('td', { style: { width: '96px' } }, part), el('td', {}, amount), el('td', { class: 'text' }, text)))));
}
