// The user's files, with what each line costs in the margin.

const KEYWORDS = new Set(('and as assert async await break class continue def del elif else except False finally for '
  + 'from global if import in is lambda None nonlocal not or pass raise return True try while with yield').split(' '));
const PYTHON = /(#.*)|("""|''')|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\b(\d[\w.]*)|([A-Za-z_]\w*)/g;

class Source {
  constructor() {
    this.files = R.files.map((f, id) => ({ ...f, id })).filter((f) => f.lines.length);
    const hottest = new Map();
    for (const row of lines.values()) hottest.set(row.file, (hottest.get(row.file) ?? 0) + row.own);
    this.files.sort((a, b) => (hottest.get(b.id) ?? -1) - (hottest.get(a.id) ?? -1));
    this.most = Math.max(1e-12, ...[...lines.values()].map((r) => r.total));
    this.file = null;
    fill(byId('margin'), ...['time', 'memory', 'kern.', 'line'].map((text, k) => (
      el('div', { class: `cell ${['time', 'mem', 'kern', 'no'][k]}`, title: HEADS[k] }, text))));
    const frame = byId('code');
    const around = el('div', { class: 'framed' });
    frame.replaceWith(around);
    around.append(frame);
    this.view = new Listing(frame, { count: 0, row: (i) => this.row(i), level: (i) => this.level(i) });
  }

  open(id) {
    const file = this.files.find((f) => f.id === id) ?? this.files[0];
    if (!file || file === this.file) return;
    this.file = file;
    this.strings = multiline(file.lines);
    this.view.show({ count: file.lines.length, row: (i) => this.row(i) });
    this.view.frame.scrollTop = 0;
    fill(byId('files'), this.files.map((f) => el('button', {
      'aria-selected': f === file, title: f.path, onclick: () => go({ file: f.path }),
    }, f.path)));
  }

  level(i) { return state.marks.lines.get(lineKey(this.file?.id, i + 1)) ?? 0; }

  row(i) {
    const cost = lines.get(lineKey(this.file.id, i + 1));
    return el('div', { class: `row ${cost ? '' : 'dead'}`, ...selects(selLine(this.file.id, i + 1)) },
      this.costs(cost), el('span', { class: 'cell no' }, i + 1),
      el('span', { class: 'text' }, this.strings[i] ? el('span', { class: 't-str' }, this.file.lines[i]) : python(this.file.lines[i])));
  }

  costs(cost) {
    const bar = (seconds, kind) => el('i', { class: `bar ${kind}`, style: { width: `${(76 * seconds) / this.most}px` } });
    const shown = cost && cost.total >= 5e-4 * totals.seconds;
    const time_ = el('span', { class: 'cell time', title: cost ? costText(cost) : undefined },
      shown && [bar(cost.total, ''), bar(cost.own, 'own'), el('span', {}, totals.measured ? time(cost.total) : percent(cost.total / totals.seconds))]);
    return [time_,
      el('span', { class: 'cell mem' }, cost?.bytes ? size(cost.bytes) : ''),
      el('span', { class: 'cell kern' }, cost?.kernels.size || '')];
  }

  /** Bring the line that costs most into sight. */
  warmest() {
    const [row] = [...lines.values()].filter((r) => r.file === this.file?.id).sort((a, b) => b.own - a.own || b.total - a.total);
    if (row) this.view.to_(row.line);
  }

  update(reveal) {
    this.view.refresh();
    if (reveal && !state.marks.empty) this.view.reveal();
  }
}

const HEADS = [
  'time of this line and what it calls; the dark part is its own',
  'bytes that its values hold when memory is at its peak', 'kernels that compute its values', ''];

function costText(cost) {
  return `${time(cost.own)} of its own, ${time(cost.total)} with what it calls`
    + `${totals.measured ? '' : ' (estimated: not profiled)'}\n${size(cost.bytes)} at the peak of memory`;
}

/** For each line whether it lies within a string of several lines. */
function multiline(text) {
  let open = '';
  return text.map((line) => {
    const inside = open !== '';
    for (const m of line.matchAll(/"""|'''/g)) open = open === '' ? m[0] : open === m[0] ? '' : open;
    return inside;
  });
}

function python(line) {
  const parts = [];
  let at = 0;
  for (const m of line.matchAll(PYTHON)) {
    const kind = m[1] ? 't-com' : m[2] || m[3] ? 't-str' : m[4] ? 't-num' : KEYWORDS.has(m[5]) ? 't-kw' : '';
    if (!kind || m.index < at) continue;
    const end = m[2] ? line.length : m.index + m[0].length;
    parts.push(line.slice(at, m.index), el('span', { class: kind }, line.slice(m.index, end)));
    at = end;
    if (m[2]) break;
  }
  parts.push(line.slice(at));
  return parts;
}
