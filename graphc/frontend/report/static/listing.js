// A listing: as many rows as there are, of which only those in sight exist in the document.

const ROW = 18; // pixels, as in the style

class Listing {
  /** `row(i)` makes a row; `level(i)` says how it is marked: 0, 1 or 2. */
  constructor(node, { count, row, level = () => 0 }) {
    this.frame = node;
    this.rows = el('div', { class: 'rows' });
    this.tall = el('div', { class: 'tall' }, this.rows);
    this.ticks = el('canvas', { class: 'ticks' });
    fill(node, this.tall);
    node.tabIndex = 0;
    if (node.parentElement?.classList.contains('framed')) node.parentElement.append(this.ticks);
    node.onscroll = () => this.draw();
    this.show({ count, row, level });
    new ResizeObserver(() => this.refresh()).observe(node);
  }

  show({ count, row, level }) {
    Object.assign(this, { count, row, level: level ?? this.level });
    this.tall.style.height = `${count * ROW + 40}px`;
    this.refresh();
  }

  refresh() {
    this.from = -1;
    this.draw();
    this.tick();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.frame.scrollTop / ROW) - 8);
    const last = Math.min(this.count, first + Math.ceil(this.frame.clientHeight / ROW) + 16);
    if (first === this.from && last === this.to) return;
    this.from = first;
    this.to = last;
    const made = [];
    for (let i = first; i < last; i += 1) {
      const node = this.row(i);
      const level = this.level(i);
      if (level) node.classList.add(`m${level}`);
      made.push(node);
    }
    this.rows.style.top = `${first * ROW}px`;
    this.rows.replaceChildren(...made);
  }

  /** Where in the whole the marked rows are, beside the scroll bar. */
  tick() {
    const { ticks, frame } = this;
    const height = frame.clientHeight;
    if (!height || !ticks.isConnected) return;
    ticks.width = 9;
    ticks.height = height;
    const pen = ticks.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    const scale = Math.min(ROW, height / Math.max(1, this.count));
    for (const level of [1, 2]) {
      pen.fillStyle = style.getPropertyValue(level === 2 ? '--mark-edge' : '--mark');
      for (let i = 0; i < this.count; i += 1) if (this.level(i) === level) pen.fillRect(1, i * scale, 7, Math.max(2, scale));
    }
  }

  marked() {
    const strong = [], light = [];
    for (let i = 0; i < this.count; i += 1) {
      const level = this.level(i);
      if (level === 2) strong.push(i); else if (level) light.push(i);
    }
    return strong.length ? strong : light;
  }

  to_(i) {
    const top = i * ROW, seen = this.frame.scrollTop, height = this.frame.clientHeight;
    if (top < seen + ROW || top > seen + height - 3 * ROW) this.frame.scrollTop = Math.max(0, top - height / 3);
  }

  /** Bring the first marked row into sight, unless one is; one that computes before one that declares. */
  reveal() {
    const marked = this.marked(), preferred = marked.filter((i) => this.prefer?.(i) ?? true);
    const found = preferred.length ? preferred : marked;
    const first = this.frame.scrollTop / ROW, last = first + this.frame.clientHeight / ROW - 1;
    if (found.length && !found.some((i) => i >= first && i < last)) this.to_(found[0]);
  }

  /** The next marked row after the one in the middle third, or the one before. */
  step(by) {
    const found = this.marked();
    if (!found.length) return;
    const at = found.indexOf(this.at ?? -1);
    this.at = at < 0 ? found[by > 0 ? 0 : found.length - 1] : found[(at + by + found.length) % found.length];
    this.frame.scrollTop = Math.max(0, this.at * ROW - this.frame.clientHeight / 3);
  }
}

/** A framed listing and its element. */
function listing(options) {
  const node = el('div', { class: 'listing' });
  const frame = el('div', { class: 'framed' }, node);
  return { frame, view: new Listing(node, options) };
}

// ---- rows of IR --------------------------------------------------------------------------------

const TOKEN = /(%[^\s,:=(){}#[\]]+)|(\{[^}]*\})|\b([a-z]\w*\[[^\]]*\])/g;

/** A row of a stage: its text with names that can be clicked, and where it comes from. */
function irRow(unit, id, sel, extra = null) {
  const text = R.rows[id], where = wheres[R.row_where[id]];
  return el('div', { class: `row ${extra ?? ''}`, data: sel ? { sel } : {} },
    el('span', { class: `gutter ${where ? `p-${where.phase || 'fw'}` : ''}` }),
    extra !== null && el('span', { class: 'sign' }, extra === 'add' ? '+' : extra === 'del' ? '−' : ''),
    el('span', { class: 'text' }, irTokens(unit, text)), where && whereSpan(where));
}

function irTokens(unit, text) {
  const parts = [];
  let at = 0;
  const head = /^(\s*(?:%\S+: \S+ = )?(?:load|store|launch|const)?)(\w+)?/.exec(text);
  const plain = (piece, from) => {
    const op = head && head[2] && / = $/.test(head[1]) ? head[1].length : -1;
    if (op < from || op >= from + piece.length) return [piece];
    return [piece.slice(0, op - from), el('span', { class: 't-op' }, head[2]), piece.slice(op - from + head[2].length)];
  };
  for (const m of text.matchAll(TOKEN)) {
    parts.push(...plain(text.slice(at, m.index), at));
    if (m[1]) parts.push(nameSpan(unit, m[1]));
    else parts.push(el('span', { class: m[2] ? 't-attr' : 't-type' }, m[0]));
    at = m.index + m[0].length;
  }
  parts.push(...plain(text.slice(at), at));
  return parts;
}

function nameSpan(unit, name) {
  if (unit.values.has(name)) return el('span', { class: 't-name', ...selects(selValue(unit, name)) }, name);
  return name;
}

function whereSpan(w) {
  const place = w.stack.length ? selLine(w.stack[0][0], w.stack[0][1]) : '';
  return el('span', { class: 'at' }, w.phase ? `${w.phase} ` : '',
    el('span', selects(place), w.file ? `${w.file}:${w.line}` : ''), ' ',
    el('span', selects(selModule(w.scope)), w.scope));
}
