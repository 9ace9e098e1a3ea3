// The state of the page is its address; everything is drawn from it.

const TABS = {
  overview: ['Overview', new Overview(), null],
  stages: ['Stages', new Stages(), 'values'],
  kernels: ['Kernels', new Kernels(), 'kernels'],
  timeline: ['Timeline', new Timeline(), 'launches'],
  memory: ['Memory', new Memory(), 'slots'],
  roofline: ['Roofline', new Roofline(), 'kernels'],
  guards: ['Guards', new Guards(), null],
};
const FIRST = { tab: 'overview', sel: '', stage: '', how: 'text', level: 'loops', file: '', unit: '0' };
const state = { ...FIRST, marks: new Marks(), parsed: null, reveal: false };
const source = new Source();
const search = new Search();

/** Change the state: the address keeps it, so that “back” and a link come to the same page. */
function go(change) {
  const { reveal = 'sel' in change, ...kept } = change;
  const s = parsed(kept.sel);
  if (s?.unit) kept.unit = String(s.unit.id);
  if (s?.kind === 'line' && reveal) kept.file = R.files[s.file].path;
  state.reveal = reveal;
  const next = new URLSearchParams(Object.entries(FIRST).map(([k, first]) => [k, kept[k] ?? state[k]]).filter(([k, v]) => v !== FIRST[k]));
  const hash = `#${next}`;
  if (hash === (location.hash || '#')) draw();
  else location.hash = hash;
}

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const before = state.sel;
  for (const [k, first] of Object.entries(FIRST)) state[k] = given.get(k) ?? first;
  if (!(state.tab in TABS)) state.tab = FIRST.tab;
  state.parsed = parsed(state.sel);
  if (state.sel !== before) { state.marks = marksOf(state.sel); state.reveal = true; }
  draw();
}

function draw() {
  const unit = units[state.unit] ?? units[0];
  byId('tip').hidden = true;
  const line = [...state.marks.lines].find(([, level]) => level === 2)?.[0];
  const chosen = R.files.findIndex((f) => f.path === state.file);
  source.open(state.reveal && line && state.parsed?.kind !== 'line' ? Number(cut(line, ':')[0]) : chosen >= 0 ? chosen : source.file?.id);
  source.update(state.reveal);
  if (state.marks.empty && !source.seen) source.warmest();
  source.seen = true;
  drawTabs(unit);
  const [, pane] = TABS[state.tab];
  if (byId('pane').firstChild !== pane.node) fill(byId('pane'), pane.node);
  if (unit) { pane.draw(unit); drawSelection(unit); }
  byId('unit').value = state.unit;
  state.reveal = false;
}

function drawTabs(unit) {
  fill(byId('tabs'), Object.entries(TABS).map(([name, [label, , kind]]) => {
    const n = !kind || !unit ? 0 : name === 'stages' ? TABS.stages[1].count(unit) : state.marks.count(kind, unit);
    return el('button', { role: 'tab', id: `tab-${name}`, 'aria-selected': name === state.tab, onclick: () => go({ tab: name, reveal: true }) },
      label, n ? el('span', { class: 'count' }, n) : null);
  }));
}

function drawHead() {
  const n = R.numbers, step = totals.measured ? [['a call', time(totals.seconds)]] : [];
  byId('title').textContent = R.name;
  fill(byId('facts'), [...step, ['launches', totals.launches], ['kernels', totals.kernels], ['peak', size(n.peak_bytes ?? 0)],
    ...(n.compile_seconds === undefined ? [] : [['compiled in', `${n.compile_seconds.toFixed(2)} s`]]),
    ...(R.recompiles.length ? [['recompiles', R.recompiles.length]] : [])].map(([k, v]) => el('span', {}, `${k} `, el('b', {}, v))));
  const choice = byId('unit');
  choice.hidden = units.length < 2;
  fill(choice, units.map((u) => el('option', { value: u.id }, `${u.id + 1}/${units.length} ${u.name}`)));
  choice.onchange = () => go({ unit: choice.value, sel: '' });
}

// ---- keys, light and dark, the split -----------------------------------------------------------

const KEYS = {
  '/': ['find', () => byId('search').focus()],
  n: ['next mark in the pane', () => stepMark(1)],
  N: ['mark before', () => stepMark(-1)],
  j: ['next mark in the source', () => source.view.step(1)],
  k: ['mark before in the source', () => source.view.step(-1)],
  ']': ['next stage', () => stepStage(1)],
  '[': ['stage before', () => stepStage(-1)],
  d: ['text, changes or both', () => go({ tab: 'stages', how: HOWS[(HOWS.findIndex(([h]) => h === state.how) + 1) % 3][0] })],
  t: ['light or dark', () => turn()],
  Escape: ['clear the selection', () => go({ sel: '' })],
  '?': ['this help', () => byId('help').showModal()],
};

function stepMark(by) {
  const pane = TABS[state.tab][1];
  (pane.views?.at(-1) ?? pane.view ?? source.view).step(by);
}

function stepStage(by) {
  const u = units[state.unit] ?? units[0];
  const at = Math.max(0, u.stages.findIndex((s) => s.name === state.stage));
  go({ tab: 'stages', stage: u.stages[Math.min(u.stages.length - 1, Math.max(0, at + by))].name, reveal: true });
}

function turn(to) {
  const root = document.documentElement;
  root.dataset.theme = to ?? (root.dataset.theme === 'dark' ? 'light' : 'dark');
  try { localStorage.setItem('graphc-theme', root.dataset.theme); } catch { /* a file may have no storage */ }
  draw();
}

function kept() {
  try { return localStorage.getItem('graphc-theme'); } catch { return null; }
}

function listen() {
  document.addEventListener('click', (e) => {
    const sel = e.target.closest?.('[data-sel]')?.dataset.sel;
    if (sel) go({ sel, reveal: true });
  });
  document.addEventListener('keydown', (e) => {
    if (e.target.matches('input, select') || e.metaKey || e.ctrlKey || e.altKey || byId('help').open) return;
    const tab = Object.keys(TABS)[Number(e.key) - 1];
    if (tab) go({ tab, reveal: true });
    else if (KEYS[e.key]) KEYS[e.key][1]();
    else return;
    e.preventDefault();
  });
  byId('theme').onclick = () => turn();
  byId('keys').onclick = () => byId('help').showModal();
  byId('help').onclick = () => byId('help').close();
  const rows = [['1 … 7', 'a pane'], ...Object.entries(KEYS).map(([key, [what]]) => [key, what])];
  fill(byId('help'), el('h2', {}, 'keyboard'), el('table', {}, el('tbody', {}, rows.map(([key, what]) => el('tr', {}, el('td', { class: 'text', style: { width: '80px' } }, el('kbd', {}, key)), el('td', { class: 'text', style: { fontFamily: 'var(--sans)', maxWidth: 'none' } }, what))))));
  byId('split').onpointerdown = (e) => byId('split').setPointerCapture(e.pointerId);
  byId('split').onpointermove = (e) => {
    if (e.buttons) document.querySelector('main').style.setProperty('--left', `${Math.min(80, Math.max(15, (100 * e.clientX) / innerWidth))}%`);
  };
  window.addEventListener('hashchange', read);
}

document.documentElement.dataset.theme = kept() ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
drawHead();
listen();
read();
