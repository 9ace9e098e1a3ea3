// Every stage of the compiler: its text, and what it changed.

class Stages {
  constructor() {
    this.chips = el('div', { class: 'bar-line' });
    this.why = el('div', { class: 'why' });
    this.body = el('div', { class: 'two' });
    this.node = el('div', { class: 'column' }, this.chips, this.why, this.body);
    this.views = [];
  }

  get stage() {
    return this.unit.stages.find((s) => s.name === state.stage) ?? this.unit.stages[0];
  }

  draw(unit) {
    const key = `${unit.id} ${state.stage} ${state.how}`;
    this.unit = unit;
    if (key !== this.key) this.build();
    this.key = key;
    for (const view of this.views) view.refresh();
    if (state.reveal) for (const view of this.views) view.reveal();
  }

  build() {
    const { stage, unit } = this;
    const at = unit.stages.indexOf(stage), before = unit.stages[at - 1];
    this.drawChips(at);
    const ops = stage.ops === null ? '' : before?.ops > stage.ops || before?.ops < stage.ops
      ? `${before.ops} → ${stage.ops} ops · ` : `${stage.ops} ops · `;
    const how = el('span', { class: 'toggle', style: { float: 'right' } }, HOWS.map(([name, label]) => el('button', {
      'aria-pressed': state.how === name, disabled: name !== 'text' && before?.level !== stage.level, onclick: () => go({ how: name }),
    }, label)));
    fill(this.why, how, `${at + 1}/${unit.stages.length}  ${stage.name} · ${ops}${stage.ms.toFixed(1)} ms · ${stage.why}`);
    const way = before?.level === stage.level ? state.how : 'text';
    const shown = way === 'both' ? [this.text(before), this.text(stage)] : [way === 'diff' ? this.changes(before, stage) : this.text(stage)];
    fill(this.body, shown.map((s) => s.frame));
    this.views = shown.map((s) => s.view);
    if (way === 'both') {
      this.views[0].frame.addEventListener('scroll', () => { this.views[1].frame.scrollTop = this.views[0].frame.scrollTop; });
    }
  }

  drawChips(at) {
    fill(this.chips, this.unit.stages.map((s, k) => {
      const before = this.unit.stages[k - 1];
      const same = before && s.rows.length === before.rows.length && s.rows.every((r, i) => i === 0 || r === before.rows[i]);
      return el('button', {
        class: `chip ${same ? 'faint' : ''}`, 'aria-pressed': k === at, title: s.why, onclick: () => go({ stage: s.name }),
      }, s.name, el('small', {}, same ? '=' : s.ops ?? ''));
    }));
  }

  text(stage) {
    const { unit } = this;
    const meaning = meaningOf(unit, stage);
    const made = listing({
      count: stage.rows.length,
      row: (i) => irRow(unit, stage.rows[i], meaning.sel(i)),
      level: (i) => meaning.level(i),
    });
    made.view.prefer = (i) => !DECLARED.test(R.rows[stage.rows[i]]);
    return made;
  }

  /** How many rows of the stage belong to the selection. */
  count(unit) {
    this.unit = unit;
    if (state.marks.empty) return 0;
    const { stage } = this, meaning = meaningOf(unit, stage);
    return stage.rows.filter((_, i) => meaning.level(i) === 2).length;
  }

  changes(before, stage) {
    const { unit } = this;
    const rows = grouping(unit, withContext(difference(before.rows, stage.rows)), before, stage);
    return listing({
      count: rows.length,
      row: (i) => (rows[i].head !== undefined
        ? el('div', { class: 'row head' }, el('span', { class: 'gutter' }), el('span', { class: 'text' }, rows[i].head))
        : irRow(unit, rows[i].id, rows[i].sel, rows[i].kind)),
      level: (i) => rows[i].level?.() ?? 0,
    });
  }
}

const HOWS = [['text', 'text'], ['diff', 'what it changed'], ['both', 'side by side']];

/** What each row of a stage is: what a click selects, and how it is marked. */
function meaningOf(unit, stage) {
  const texts = stage.rows.map((id) => R.rows[id]);
  if (stage.level === 'graph') return graphMeaning(unit, texts);
  return stage.level === 'program' ? programMeaning(unit, texts) : kernelMeaning(unit, stage.rows, texts);
}

const DECLARED = /^\s*((state |scalar )?%\S+: \S+,?|\s+state .*)$| at (state|arg|scalar|out) /;
const LABEL = /^\s*(?:(?:state|scalar) )?(%[^\s,:=(){}#]+): /;

function graphMeaning(unit, texts) {
  const names = texts.map((t) => LABEL.exec(t)?.[1]);
  return {
    sel: (i) => (names[i] && unit.values.has(names[i]) ? selValue(unit, names[i]) : null),
    level: (i) => (names[i] ? state.marks.of('values', unit, names[i]) : 0),
  };
}

function programMeaning(unit, texts) {
  const launch = texts.map((t) => /^\s*(\d+): launch /.exec(t)?.[1]);
  const slot = texts.map((t) => LABEL.exec(t)?.[1]?.slice(1));
  return {
    sel: (i) => (launch[i] !== undefined ? selLaunch(unit, launch[i]) : slot[i] && unit.slotOf.has(slot[i]) ? selSlot(unit, slot[i]) : null),
    level: (i) => (launch[i] !== undefined ? state.marks.of('launches', unit, launch[i]) : slot[i] ? state.marks.of('slots', unit, slot[i]) : 0),
  };
}

/** Rows of kernels: of one kernel (`only`), or of all, one after another. */
function kernelMeaning(unit, ids, texts, only = null) {
  const named = new Map(unit.kernels.map((k) => [k.name, []]));
  for (const k of unit.kernels) named.get(k.name).push(k.id);
  let now = only;
  const kernel = texts.map((t) => {
    const head = only === null && /^kernel (\S+)/.exec(t);
    if (head) now = named.get(head[1])?.shift() ?? null;
    return now;
  });
  const head = texts.map((t) => t.startsWith('kernel '));
  return {
    sel: (i) => {
      const w = wheres[R.row_where[ids[i]]];
      if (w?.stack.length && !head[i]) return selLine(w.stack[0][0], w.stack[0][1]);
      return kernel[i] === null ? null : selKernel(unit, kernel[i]);
    },
    level: (i) => {
      if (kernel[i] === null) return 0;
      const whole = state.marks.of('kernels', unit, kernel[i]);
      if (!whole || head[i]) return whole;
      const s = state.parsed;
      if (s && (s.kind === 'kernel' || s.kind === 'launch')) return only === null ? whole : 0;
      return Math.min(whole, state.marks.wheres.get(R.row_where[ids[i]]) ?? 0);
    },
  };
}

// ---- differences -------------------------------------------------------------------------------

/** A row as it is compared: `%7.2` took the place of `%7`, which is no change by itself. */
const plainRow = (id) => R.rows[id].replace(/(%\d+)(?:\.\d+)+(?![\w.])/g, '$1');

/**
 * Rows that went, came and stayed, in the order of `after`. Rows are compared by the value that they
 * define; what went stands before the next of its neighbours that is still there.
 */
function difference(before, after) {
  const label = (id) => { const m = LABEL.exec(R.rows[id]); return m ? root(m[1]) : plainRow(id); };
  const old = new Map(before.map((id) => [label(id), id])), now = new Set(after.map(label));
  const gone = new Map(); // by the label that they stand before
  let waiting = [];
  for (const id of before) {
    if (!now.has(label(id))) waiting.push({ kind: 'del', id });
    else if (waiting.length) { gone.set(label(id), waiting); waiting = []; }
  }
  const found = after.flatMap((id) => {
    const was = old.get(label(id)), before_ = gone.get(label(id)) ?? [];
    if (was === undefined) return [{ kind: 'add', id }];
    return plainRow(was) === plainRow(id) ? [...before_, { kind: '', id }] : [...before_, { kind: 'del', id: was }, { kind: 'add', id }];
  });
  return [...found, ...waiting];
}

/** Only what changed, with three rows around it. */
function withContext(rows, around = 3) {
  const near = new Array(rows.length).fill(false);
  rows.forEach((r, i) => {
    if (r.kind) for (let k = Math.max(0, i - around); k <= Math.min(rows.length - 1, i + around); k += 1) near[k] = true;
  });
  const found = [];
  rows.forEach((r, i) => {
    if (near[i]) found.push(r);
    else if (i && near[i - 1]) found.push({ gap: true });
  });
  return found;
}

/** Headings: between far places, and what rule made the rows that came. */
function grouping(unit, rows, before, stage) {
  const changed = rows.filter((r) => r.kind).length;
  const found = [{ head: changed ? `${before.name} → ${stage.name}: − ${rows.filter((r) => r.kind === 'del').length}  + ${rows.filter((r) => r.kind === 'add').length} rows` : `${stage.name} changed nothing here` }];
  let rule = null;
  for (const r of rows) {
    if (r.gap) { found.push({ head: '⋯' }); rule = null; continue; }
    const name = LABEL.exec(R.rows[r.id])?.[1], v = name && unit.values.get(name);
    if (r.kind === 'add' && v?.by && v.by !== rule) { rule = v.by; found.push({ head: `by ${rule}` }); }
    found.push({ ...r, sel: v ? selValue(unit, name) : null, level: () => (name ? state.marks.of('values', unit, name) : 0) });
  }
  return found;
}
