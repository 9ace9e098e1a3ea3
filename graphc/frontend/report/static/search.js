// One box that finds lines, modules, kernels, values and buffers.

const EACH = 9;

class Search {
  constructor() {
    this.box = byId('search');
    this.list = byId('found');
    this.at = 0;
    this.box.addEventListener('input', () => this.look());
    this.box.addEventListener('focus', () => this.look());
    this.box.addEventListener('blur', () => setTimeout(() => { this.list.hidden = true; }, 150));
    this.box.addEventListener('keydown', (e) => this.key(e));
  }

  look() {
    const wanted = this.box.value.trim().toLowerCase();
    const rows = wanted ? findings(wanted) : [];
    this.at = 0;
    this.list.hidden = !wanted;
    fill(this.list, rows.length ? rows.map(([kind, text, sel], i) => el('div', { role: 'option', class: i ? '' : 'on', ...selects(sel), onmousedown: (e) => e.preventDefault(), onclick: () => this.close() },
      el('span', {}, kind), el('code', {}, text))) : el('div', { class: 'soft' }, el('span', {}, ''), 'nothing of that name'));
  }

  key(e) {
    const rows = [...this.list.querySelectorAll('[data-sel]')];
    if (e.key === 'Escape') { this.box.value = ''; this.close(); }
    else if (e.key === 'Enter' && rows[this.at]) { go({ sel: rows[this.at].dataset.sel, reveal: true }); this.close(); }
    else if (e.key === 'ArrowDown' || e.key === 'ArrowUp') {
      rows[this.at]?.classList.remove('on');
      this.at = (this.at + (e.key === 'ArrowDown' ? 1 : rows.length - 1)) % Math.max(1, rows.length);
      rows[this.at]?.classList.add('on');
      rows[this.at]?.scrollIntoView({ block: 'nearest' });
    } else return;
    e.preventDefault();
    e.stopPropagation();
  }

  close() {
    this.list.hidden = true;
    this.box.blur();
  }
}

/** Rows of [kind, text, selection], each kind's best first. */
function findings(wanted) {
  const modules = [...new Set(wheres.map((w) => w.scope).filter(Boolean).flatMap((s) => s.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'))))];
  const places = [...lines.values()].map((r) => ['line', `${R.files[r.file].path}:${r.line}  ${(R.files[r.file].lines[r.line - 1] ?? '').trim()}`, selLine(r.file, r.line)]);
  const kernels = units.flatMap((u) => u.kernels.map((k) => ['kernel', k.name, selKernel(u, k.id)]));
  const values = units.flatMap((u) => [...u.values.values()].map((v) => ['value', v.name, selValue(u, v.name)]));
  const slots = units.flatMap((u) => u.slots.map((s) => ['buffer', `%${s.name}: ${s.spec} ${s.kind}`, selSlot(u, s.name)]));
  const groups = [places, modules.map((m) => ['module', m, selModule(m)]), kernels, values, slots];
  const rank = ([, text]) => { const t = text.toLowerCase(), i = t.indexOf(wanted); return i < 0 ? 9 : t === wanted || t === `%${wanted}` ? 0 : i <= 1 ? 1 : 2; };
  return groups.flatMap((group) => group.map((row) => [rank(row), row]).filter(([r]) => r < 9).sort((a, b) => a[0] - b[0]).slice(0, EACH).map(([, row]) => row));
}
