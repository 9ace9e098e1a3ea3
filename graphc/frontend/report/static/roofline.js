// The roofline: each kernel by how much it computes for a byte, and how fast it computes.

class Roofline {
  constructor() {
    this.text = el('div', { class: 'why' });
    this.picture = el('div', { style: { flex: 1, minHeight: 0 } });
    this.node = el('div', { class: 'column' }, this.text, this.picture);
    new ResizeObserver(() => this.unit && this.paint()).observe(this.picture);
  }

  draw(unit) {
    this.unit = unit;
    const p = R.peaks;
    fill(this.text, p ? `${p.machine}, ${many(p.threads, 'thread')}: ${count(p.flops)}FLOP/s and ${size(p.bytes)}/s measured. ` : 'The peaks of this machine are not measured: run “python -m graphc doctor --measure” once. ',
      unit.measured ? 'Area is share of time; a kernel over the slope of memory reads from a cache.' : 'Not profiled: call step.report(path, *batch) to see kernels here.');
    this.paint();
  }

  paint() {
    const width = this.picture.clientWidth, height = this.picture.clientHeight, u = this.unit;
    if (!width || !height) return;
    const shown = u.measured ? u.kernels.filter((k) => k.flops && k.bytes && k.seconds > 0) : [];
    const intensity = shown.map((k) => k.flops / k.bytes), rate = shown.map((k) => k.flops / k.seconds);
    const p = R.peaks, roofs = p ? [p.flops / p.bytes] : [], tops = p ? [p.flops] : [];
    const [x, xs] = logScale([0.05, ...intensity, ...roofs, 100], 70, width - 20);
    const [y, ys] = logScale([1e8, ...rate, ...tops, 2e10], height - 34, 16);
    const grid = [xs.map((v) => [svg('line', { x1: x(v), x2: x(v), y1: 16, y2: height - 34, class: 'axis' }), svg('text', { x: x(v), y: height - 19, 'text-anchor': 'middle' }, v)]),
      ys.map((v) => [svg('line', { x1: 70, x2: width - 20, y1: y(v), y2: y(v), class: 'axis' }), svg('text', { x: 64, y: y(v) + 4, 'text-anchor': 'end' }, `${count(v)}`)])];
    fill(this.picture, svg('svg', { height, viewBox: `0 0 ${width} ${height}`, class: state.marks.empty ? '' : 'chosen' }, grid,
      svg('text', { x: width - 20, y: height - 5, 'text-anchor': 'end' }, 'FLOP per byte moved'), svg('text', { x: 64, y: 10, 'text-anchor': 'end' }, 'FLOP/s'),
      p && this.roof(p, x, y, width), shown.sort((a, b) => b.seconds - a.seconds).map((k) => this.point(k, x, y))));
  }

  roof(p, x, y, width) {
    const slopes = [...Object.entries(p.levels).map(([name, rate]) => [name, rate, 'axis']), ['memory', p.bytes, 'roof']];
    return [slopes.map(([name, rate, kind]) => this.slope(name, rate, kind, p.flops, x, y)),
      svg('line', { class: 'roof', x1: x(p.flops / p.bytes), x2: width - 20, y1: y(p.flops), y2: y(p.flops) }),
      svg('text', { x: width - 24, y: y(p.flops) - 5, 'text-anchor': 'end' }, `${count(p.flops)}FLOP/s`)];
  }

  /** What memory of this rate lets a kernel compute, up to what the machine can. */
  slope(name, rate, kind, flops, x, y) {
    const low = 1e-2, bend = flops / rate, at = 0.06;
    return [svg('line', { class: kind, x1: x(low), x2: x(bend), y1: y(low * rate), y2: y(flops) }),
      svg('text', { x: x(at), y: y(at * rate) - 4, 'text-anchor': 'end' }, name)];
  }

  point(k, x, y) {
    const u = this.unit, phase = u.launches[k.launches[0]].phase;
    return tipped(svg('circle', {
      cx: x(k.flops / k.bytes), cy: y(k.flops / k.seconds), r: 2.5 + 26 * Math.sqrt(k.seconds / u.seconds), fill: COLOUR[phase], 'fill-opacity': 0.6,
      class: `block m${state.marks.of('kernels', u, k.id)}`, ...selects(selKernel(u, k.id)),
    }), () => `${k.name}\n${time(k.seconds)}, ${percent(k.seconds / u.seconds)} of the step\n${count(k.flops / k.seconds)}FLOP/s, ${size(k.bytes / k.seconds)}/s${R.peaks ? `, ${percent(k.floor / k.seconds)} of peak` : ''}`);
  }
}

/** A logarithmic scale over these values, and its powers of ten. */
function logScale(values, from, to) {
  const low = Math.floor(Math.log10(Math.min(...values))), high = Math.ceil(Math.log10(Math.max(...values)));
  const at = (v) => from + ((Math.log10(v) - low) / (high - low)) * (to - from);
  return [at, Array.from({ length: high - low + 1 }, (_, k) => Number(`1e${low + k}`))];
}
