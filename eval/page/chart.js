// Axes, marks and lines of the figures, drawn anew when their box changes its width.

const COLOURS = 7;
const SHAPES = ["circle", "square", "diamond", "triangle", "cross"];

function ticks([low, high], count) {
  const rough = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((s) => s * unit >= rough * 0.999) * unit;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

function logTicks([low, high], count) {
  const of = (factors) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
      for (const factor of factors) {
        const value = Number((factor * 10 ** power).toPrecision(12));
        if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
      }
    }
    return found;
  };
  return [[1, 2, 5], [1, 3], [1]].map(of).find((found) => found.length <= count + 1) || of([1]);
}

function scale({ domain: [low, high], log }, [from, to]) {
  const f = log ? Math.log : (v) => v;
  const span = f(high) - f(low) || 1;
  return (value) => from + ((f(value) - f(low)) / span) * (to - from);
}

// A domain a little wider than the values.
function around(values, { log = false, margin = 0.06 } = {}) {
  if (!values.length) return log ? [0.1, 10] : [0, 1];
  const f = log ? Math.log10 : (v) => v;
  const low = f(values.reduce((a, b) => Math.min(a, b)));
  const high = f(values.reduce((a, b) => Math.max(a, b)));
  const pad = (high - low) * margin || (log ? 0.2 : Math.abs(high) * 0.1 || 0.5);
  return log ? [10 ** (low - pad), 10 ** (high + pad)] : [low - pad, high + pad];
}

// spec: {label, role, x, y: {domain, log, label, format}, ratio, draw(g, sx, sy, root)}
function chart(box, spec) {
  box.spec = spec;
  if (!box.watched) {
    box.watched = true;
    new ResizeObserver(() => { if (box.clientWidth !== box.drawn) paint(box); }).observe(box);
  }
  paint(box);
}

function paint(box) {
  const { spec } = box;
  const width = box.clientWidth;
  box.drawn = width;
  if (width < 60) return;
  const height = Math.round(Math.max(220, Math.min(width * (spec.ratio || 0.5), 460)));
  const left = 52, right = 14, top = 12, bottom = 44;
  const sx = scale(spec.x, [left, width - right]);
  const sy = scale(spec.y, [height - bottom, top]);
  const root = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: spec.role || "img", "aria-label": spec.label });
  root.append(axes(spec, sx, sy, { width, height, left, right, top, bottom }));
  const marks = svg("g");
  root.append(marks);
  box.replaceChildren(root);
  spec.draw(marks, sx, sy, root);
}

function axes({ x, y }, sx, sy, { width, height, left, right, top, bottom }) {
  const g = svg("g", { class: "axes" });
  const room = Math.max(2, Math.floor((width - left - right) / 70));
  const xs = x.log ? logTicks(x.domain, room) : ticks(x.domain, room);
  const ys = y.log ? logTicks(y.domain, 6) : ticks(y.domain, 6);
  const text = (value, axis) => (axis.format || short)(value);
  for (const value of xs) {
    g.append(svg("line", { x1: sx(value), x2: sx(value), y1: top, y2: height - bottom }));
    g.append(svg("text", { x: sx(value), y: height - bottom + 17, "text-anchor": "middle" }, text(value, x)));
  }
  for (const value of ys) {
    g.append(svg("line", { x1: left, x2: width - right, y1: sy(value), y2: sy(value) }));
    g.append(svg("text", { x: left - 8, y: sy(value) + 4, "text-anchor": "end" }, text(value, y)));
  }
  g.append(svg("text", { class: "axis", x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, x.label));
  const middle = (top + height - bottom) / 2;
  g.append(svg("text", { class: "axis", x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y.label));
  return g;
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

function mark(shape, x, y, r, attributes = {}) {
  const shapes = {
    circle: () => svg("circle", { cx: x, cy: y, r, ...attributes }),
    square: () => svg("rect", { x: x - r * 0.9, y: y - r * 0.9, width: r * 1.8, height: r * 1.8, ...attributes }),
    diamond: () => svg("path", { d: `M${x} ${y - r * 1.3}l${r * 1.3} ${r * 1.3}l${-r * 1.3} ${r * 1.3}l${-r * 1.3} ${-r * 1.3}z`, ...attributes }),
    triangle: () => svg("path", { d: `M${x} ${y - r * 1.2}l${r * 1.2} ${r * 2.2}h${-r * 2.4}z`, ...attributes }),
    cross: () => svg("path", { d: `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`, ...attributes }),
  };
  return shapes[shape]();
}

const swatch = (series) => svg("svg", { width: 18, height: 14, viewBox: "0 0 18 14", class: series.style, "aria-hidden": "true" },
  svg("line", { class: "join", x1: 0, x2: 18, y1: 7, y2: 7 }), mark(series.shape, 9, 7, 4, { class: "mark" }));
const legend = (list) => el("ul", { class: "legend" }, list.map((series) => el("li", {}, swatch(series), named(series.name))));
