// Two entries against each other, one point for each clip.

function scatter(section, data) {
  const metrics = data.metrics.filter((m) => m.per === "clip" && pairsOf(data, m).length);
  if (data.clips.length < 1 || data.entries.filter((e) => e.kind !== "original").length < 2 || !metrics.length) {
    section.append(el("p", { class: "note" }, "Two entries with scores of single clips are needed here."));
    return;
  }
  const coded = data.entries.filter((e) => e.kind !== "original");
  const state = { metric: headline(metrics).name, a: coded[0].label, b: coded[1].label };
  const box = el("div", { class: "chart" });
  const facts = el("div", { class: "facts" });
  const draw = () => {
    const metric = metrics.find((m) => m.name === state.metric);
    const points = clipPairs(data, metric, state.a, state.b);
    chart(box, scatterSpec(metric, points, state));
    facts.replaceChildren(...pairFacts(data, metric, points, state));
  };
  const pick = (key) => (value) => { state[key] = value; draw(); };
  const options = data.entries.map((e) => [e.label, e.label]);
  section.append(el("div", { class: "tools" }, choice("Metric", metricOptions(metrics), state.metric, pick("metric")),
    choice("Across", options, state.a, pick("a")), choice("Up", options, state.b, pick("b"))), el("div", { class: "two" }, box, facts));
  draw();
}

// Entries that have values of single clips for a metric.
function pairsOf(data, metric) {
  const own = data.values[data.metrics.indexOf(metric)];
  return own.filter((values) => values.some((v) => v !== null));
}

function clipPairs(data, metric, a, b) {
  const own = data.values[data.metrics.indexOf(metric)];
  const [xs, ys] = [a, b].map((label) => own[data.entries.findIndex((e) => e.label === label)]);
  const found = data.clips.map((clip, i) => ({ clip, x: xs[i], y: ys[i] }));
  return found.filter((p) => p.x !== null && p.y !== null).sort((p, q) => p.y - p.x - (q.y - q.x));
}

function scatterSpec(metric, points, { a, b }) {
  const domain = around(points.flatMap((p) => [p.x, p.y]));
  const said = (p) => `${p.clip.id}\n${a}: ${number(p.x, metric.digits + 1)}\n${b}: ${number(p.y, metric.digits + 1)}`;
  return {
    label: `${metric.label} of each clip, ${a} across and ${b} up. Arrow keys go from clip to clip by their difference.`,
    ratio: 0.9,
    x: { domain, label: `${metric.label}, ${a}` },
    y: { domain, label: `${metric.label}, ${b}` },
    draw(g, sx, sy, root) {
      g.append(svg("line", { class: "diagonal", x1: sx(domain[0]), y1: sy(domain[0]), x2: sx(domain[1]), y2: sy(domain[1]) }));
      const places = points.map((p) => [sx(p.x), sy(p.y)]);
      const dots = places.map(([x, y]) => svg("circle", { class: "dot", cx: x, cy: y, r: points.length > 300 ? 2.5 : 3.5 }));
      const ring = svg("circle", { class: "ring", r: 7, visibility: "hidden" });
      g.append(...dots, ring);
      root.setAttribute("tabindex", "0");
      pointing(root, ring, places, points.map(said));
    },
  };
}

// The nearest point is named under the pointer; arrow keys go through all of them in their order.
function pointing(root, ring, places, texts) {
  let at = -1;
  const show = (i) => {
    at = i;
    ring.setAttribute("cx", places[i][0]);
    ring.setAttribute("cy", places[i][1]);
    ring.setAttribute("visibility", "visible");
    const box = root.getBoundingClientRect();
    showTip(texts[i], box.left + places[i][0], box.top + places[i][1]);
  };
  const hide = () => { ring.setAttribute("visibility", "hidden"); hideTip(); };
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const away = places.map(([x, y]) => Math.hypot(x - event.clientX + box.left, y - event.clientY + box.top));
    const nearest = away.reduce((best, d, i) => (d < away[best] ? i : best), 0);
    if (places.length && away[nearest] < 28) show(nearest);
    else hide();
  });
  root.addEventListener("pointerleave", hide);
  root.addEventListener("blur", hide);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step || !places.length) return;
    event.preventDefault();
    show((at + step + places.length) % places.length);
    byId("live").textContent = texts[at];
  });
}

function testOf(data, metric, a, b) {
  const found = (data.tests || []).find((t) => t.metric === metric.name && ((t.a === a && t.b === b) || (t.a === b && t.b === a)));
  if (!found || found.difference === null) return found || null;
  if (found.a === b) return found; // up minus across, as the figure is read
  const turn = (v) => (v === null || v === undefined ? null : -v);
  return { ...found, difference: turn(found.difference), low: turn(found.high), high: turn(found.low) };
}

const pValue = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

function chance({ p, p_alone: alone, reason, count }) {
  if (p === null || p === undefined) return reason || `${count} clips; not tested`;
  return pValue(p) + (typeof alone === "number" && alone !== p ? ` corrected for all pairs, ${pValue(alone)} alone` : "") + `, ${count} clips`;
}

function pairFacts(data, metric, points, { a, b }) {
  const digits = metric.digits + 1;
  const wins = points.filter((p) => (metric.better === "lower" ? p.y < p.x : p.y > p.x)).length;
  const test = a === b ? null : testOf(data, metric, a, b);
  const lines = [el("h3", {}, named(b), " \u2212 ", named(a))];
  if (test && test.difference !== null) {
    lines.push(el("p", { class: "big" }, `${test.difference > 0 ? "+" : ""}${number(test.difference, digits)}`, el("small", {}, ` ${unitOf(metric)}`)));
    if (test.low !== null) lines.push(el("p", {}, `95 % interval ${number(test.low, digits)} to ${number(test.high, digits)}`));
    lines.push(el("p", {}, chance(test)));
  } else lines.push(el("p", {}, a === b ? "Choose two different entries." : "This pair was not tested."));
  if (metric.better && a !== b) lines.push(el("p", {}, named(b), ` is better on ${wins} of ${points.length} clips.`));
  lines.push(el("p", { class: "note" }, "Above the diagonal the entry going up has the greater value. Touch a point for its clip; with the figure in focus, arrow keys walk through the clips."));
  return lines;
}
