// Quality over bit rate: entries of one model are joined by a line.

function seriesOf(entries) {
  const found = new Map();
  for (const entry of entries) {
    if (entry.kind === "original") continue;
    const name = entry.model || entry.label.split(":")[0];
    if (!found.has(name)) found.set(name, { name, kind: entry.kind, entries: [] });
    found.get(name).entries.push(entry);
  }
  const counts = { model: 0, anchor: 0 };
  for (const series of found.values()) {
    const i = counts[series.kind]++;
    series.shape = series.kind === "anchor" ? SHAPES[(i + 1) % SHAPES.length] : SHAPES[Math.floor(i / COLOURS) % SHAPES.length];
    series.style = series.kind === "anchor" ? "series anchor" : `series c${i % COLOURS}`;
  }
  return [...found.values()];
}

// The kinds of rate there are: [key, text, entry -> bit/s or null].
function ratesOf(data) {
  const anchors = data.entries.some((e) => e.kind === "anchor") ? "; anchors as coded" : "";
  const rates = [["nominal", `Nominal${anchors}`, (e) => e.bitrate]];
  for (const metric of data.metrics.filter((m) => m.group === "rate" && m.name !== "bitrate_nominal" && /^k?bits?\/s/.test(m.unit))) {
    const unit = metric.unit.startsWith("k") ? 1000 : 1;
    rates.push([`metric ${metric.name}`, metric.label, (e) => (meanOf(e, metric) === null ? null : unit * meanOf(e, metric))]);
  }
  if (!data.metrics.some((m) => m.name === "bitrate_entropy")) {
    rates.push(["tokens entropy", "Entropy", (e) => (e.tokens && e.tokens.rates ? e.tokens.rates.entropy : null)]);
  }
  return rates.filter(([, , rate]) => data.entries.some((e) => rate(e) > 0));
}

function curves(section, data) {
  const metrics = data.metrics.filter((m) => m.group !== "rate" && data.entries.some((e) => e.kind !== "original" && meanOf(e, m) !== null));
  const rates = ratesOf(data);
  if (!metrics.length || !rates.length) {
    section.append(el("p", { class: "note" }, "There is no entry with both a rate and a score."));
    return;
  }
  const state = { metric: headline(metrics).name, rate: rates[0][0] };
  const list = seriesOf(data.entries);
  const box = el("div", { class: "chart" });
  const note = el("p", { class: "note" });
  const draw = () => {
    const metric = metrics.find((m) => m.name === state.metric);
    const rate = rates.find(([key]) => key === state.rate);
    chart(box, curveSpec(data, list, metric, rate));
    note.textContent = `${metric.label}: ${better(metric)}. Bars are 95 % intervals; entries of one model with more and fewer codebooks are joined.`;
  };
  const pick = (key) => (value) => { state[key] = value; draw(); };
  section.append(el("div", { class: "tools" }, choice("Metric", metricOptions(metrics), state.metric, pick("metric")),
    choice("Rate", rates.map(([key, text]) => [key, text]), state.rate, pick("rate"))), box, legend(list), note);
  draw();
}

const headline = (metrics) => metrics.find((m) => m.name === "pesq_wb") || metrics.find((m) => m.better) || metrics[0];

function curveSpec(data, list, metric, [, text, rate]) {
  const points = list.map((series) => ({
    series,
    points: series.entries.map((entry) => ({ entry, x: rate(entry) / 1000, y: meanOf(entry, metric), summary: entry.summary[metric.name] || {} }))
      .filter((p) => p.x > 0 && p.y !== null).sort((a, b) => a.x - b.x),
  }));
  const all = points.flatMap((s) => s.points);
  const original = data.entries.find((e) => e.kind === "original");
  const line = original ? meanOf(original, metric) : null;
  const ys = all.flatMap((p) => [p.y, p.summary.low ?? p.y, p.summary.high ?? p.y]).concat(line === null ? [] : [line]);
  return {
    label: `${metric.label} over rate`,
    role: "group", // its marks are named one by one
    x: { domain: around(all.map((p) => p.x), { log: true, margin: 0.05 }), log: true, label: `kbit/s, ${text.toLowerCase()}` },
    y: { domain: around(ys), label: `${metric.label}${unitOf(metric) ? ` (${unitOf(metric)})` : ""}` },
    draw(g, sx, sy, root) {
      if (line !== null) g.append(svg("line", { class: "reference", x1: 52, x2: root.width.baseVal.value - 14, y1: sy(line), y2: sy(line), "data-tip": `as recorded: ${number(line, metric.digits)}` }));
      for (const { series, points: own } of points) g.append(drawSeries(series, own, metric, sx, sy));
    },
  };
}

function drawSeries(series, points, metric, sx, sy) {
  const g = svg("g", { class: series.style });
  if (points.length > 1) g.append(svg("path", { class: "join", d: path(points.map((p) => [sx(p.x), sy(p.y)])) }));
  for (const p of points) {
    const { low, high } = p.summary;
    const has = low !== null && low !== undefined;
    if (has) g.append(svg("path", { class: "bar", d: `M${sx(p.x)} ${sy(low)}V${sy(high)}M${sx(p.x) - 4} ${sy(low)}h8M${sx(p.x) - 4} ${sy(high)}h8` }));
    const said = `${p.entry.label}\n${metric.label} ${number(p.y, metric.digits)}${has ? ` [${number(low, metric.digits)}, ${number(high, metric.digits)}]` : ""}\n${short(p.x)} kbit/s`;
    g.append(mark(series.shape, sx(p.x), sy(p.y), 5, { class: "mark", tabindex: 0, role: "img", "aria-label": said, "data-tip": said }));
    const suffix = series.entries.length > 1 && p.entry.label.includes(":") ? p.entry.label.split(":").pop() : "";
    g.append(svg("text", { class: "tag", x: sx(p.x) + 7, y: sy(p.y) - 7 }, suffix));
  }
  return g;
}
