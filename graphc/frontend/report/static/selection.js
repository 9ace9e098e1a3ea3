// What is selected, in words, with what belongs to it one click away.

const SHOWN = 14;

function drawSelection(unit) {
  const node = byId('selection'), s = state.parsed;
  if (!s) {
    fill(node, el('span', { class: 'soft' }, 'Click a line, a value, a kernel, a launch or a buffer: what became of it and what it came from is marked in every pane.'));
    return;
  }
  const m = state.marks;
  const launches = unit.launches.filter((x) => m.of('launches', unit, x.id) === 2);
  const near = unit.launches.filter((x) => m.of('launches', unit, x.id) === 1);
  const facts = { line: lineFacts, module: moduleFacts, value: valueFacts, kernel: kernelFacts, launch: launchFacts, slot: slotFacts }[s.kind](s, unit, launches);
  fill(node, el('button', { class: 'close', title: 'clear (Esc)', onclick: () => go({ sel: '' }) }, '×'),
    el('div', { class: 'name' }, facts.name), el('div', { class: 'facts' }, facts.rows.map(([k, v]) => el('span', {}, el('b', {}, v), ` ${k}`))),
    el('dl', {}, facts.why && [el('dt', {}, 'ends'), el('dd', { class: 'mono' }, facts.why)],
      things('lines', [...m.lines].filter(([key, level]) => level === 2 && s.kind !== 'line').map(([key]) => key.split(':').map(Number)).map(([f, l]) => [selLine(f, l), `${R.files[f].path}:${l}`])),
      things('kernels', s.kind === 'kernel' ? [] : [...new Set(launches.map((x) => x.kernel))].sort((a, b) => unit.kernels[b].seconds - unit.kernels[a].seconds).map((k) => [selKernel(unit, k), unit.kernels[k].name])),
      things('launches', launches.map((x) => [selLaunch(unit, x.id), `${x.id}`])),
      things(s.kind === 'slot' ? 'readers' : 'near it', near.map((x) => [selLaunch(unit, x.id), `${x.id}`])),
      things('values', [...m.values].filter(([key, level]) => level === 2 && s.kind !== 'value' && key.startsWith(`${unit.id}:`)).map(([key]) => cut(key, ':')[1]).map((v) => [selValue(unit, v), v])),
      things('buffers', s.kind === 'slot' ? [] : unit.slots.filter((x) => m.of('slots', unit, x.name) === 2).sort((a, b) => b.bytes - a.bytes).map((x) => [selSlot(unit, x.name), `%${x.name} ${size(x.bytes)}`]))));
}

function things(name, list) {
  if (!list.length) return null;
  return [el('dt', {}, `${list.length} ${list.length === 1 ? name.replace(/(ch)es$|s$/, '$1') : name}`), el('dd', { class: 'things' },
    list.slice(0, SHOWN).map(([sel, text]) => el('span', selects(sel), text)), list.length > SHOWN && el('span', { class: 'faint' }, '…'))];
}

const told = (seconds, whole) => [[totals.measured ? `of the step, ${time(seconds)}` : 'of the step, estimated', percent(seconds / whole) || '0 %']];

/** The notes of kernels, each with its kernel's name where there are several. */
function endings(unit, launches) {
  const kernels = [...new Set(launches.map((x) => x.kernel))].map((k) => unit.kernels[k]).filter((k) => k.note).sort((a, b) => b.seconds - a.seconds);
  return kernels.slice(0, 2).map((k) => el('div', {}, kernels.length > 1 && el('span', { class: 'soft' }, `${k.name}: `), irTokens(unit, shortened(readable(k.note).replaceAll(' through memory, which fusing on would save', ''), 260))));
}

function lineFacts(s, unit, launches) {
  const row = lines.get(lineKey(s.file, s.line));
  const text = (R.files[s.file].lines[s.line - 1] ?? '').trim();
  const rows = row ? [...told(row.own, totals.seconds), ['with what it calls', percent(row.total / totals.seconds) || '0 %'], ['at the peak of memory', size(row.bytes)]] : [['nothing of it is in the program', '–']];
  return { name: `${R.files[s.file].path}:${s.line}   ${text}`, rows, why: endings(unit, launches) };
}

function moduleFacts(s, unit, launches) {
  const inside = new Set(wheres.filter((w) => w.scope === s.scope || w.scope.startsWith(`${s.scope}.`)).map((w) => w.id));
  const seconds = sum(unit.launches, (x) => x.seconds * sum(x.shares.filter(([w]) => inside.has(w)), ([, part]) => part));
  const bytes = sum(unit.held.filter((x) => inside.has(x.where)), (x) => x.bytes);
  return { name: `module ${s.scope}`, rows: [...told(seconds, unit.seconds), ['at the peak of memory', size(bytes)]], why: endings(unit, launches) };
}

function valueFacts({ item: v }, unit, launches) {
  const family = new Set(unit.family.get(root(v.name)));
  const graphs = unit.stages.filter((x) => x.level === 'graph');
  const rows = graphs.map((x) => [x.name, x.rows.map((id) => R.rows[id]).find((t) => family.has(LABEL.exec(t)?.[1]))]).filter(([, text]) => text);
  const text = rows.map(([, t]) => t).find((t) => LABEL.exec(t)[1] === v.name) ?? v.name;
  const ways = [...family].map((name) => unit.values.get(name)).filter((x) => x.by).map((x) => `${x.name} by ${x.by}`);
  return {
    name: text.trim().replace(/,$/, ''),
    rows: [['', rows.length === graphs.length ? 'in every graph' : rows.length ? `from ${rows[0][0]} to ${rows.at(-1)[0]}` : 'in no graph'],
      [v.users.length === 1 ? 'reader' : 'readers', v.users.length], ...(ways.length ? [['', `became ${ways.join(', ')}`]] : [])],
    why: endings(unit, launches),
  };
}

function workFacts(x, unit) {
  const rows = [...told(x.seconds, unit.seconds), ['computed', `${count(x.flops)}FLOP`], ['moved', size(x.bytes)]];
  return unit.measured && R.peaks ? [...rows, ['of what the machine could', percent(x.floor / x.seconds)]] : rows;
}

const kernelFacts = ({ item: k }, unit, launches) => ({ name: k.name, rows: [...workFacts(k, unit), ['', k.kind]], why: endings(unit, launches) });

function launchFacts({ item: x }, unit, launches) {
  return { name: `launch ${x.id}: ${unit.kernels[x.kernel].name}(${[...x.sizes, ...x.scalars].join(', ')})`, rows: workFacts(x, unit), why: endings(unit, launches) };
}

const slotFacts = ({ item: s }) => ({
  name: `%${s.name}: ${s.spec}`,
  rows: [['', size(s.bytes)], ['', s.kind], ['', s.space === 'arena' ? `arena 0x${s.index.toString(16)}, launches ${s.first} to ${s.last}` : `${s.space} ${s.index}`]],
});
