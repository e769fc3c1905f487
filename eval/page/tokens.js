// What is known of the codes of an entry: how evenly they are used, and what they cost.

function tokenPlots(section, data) {
  const entries = data.entries.filter((e) => e.tokens && e.tokens.streams && e.tokens.streams.length);
  if (!entries.length) {
    section.append(el("p", { class: "note" }, "No entry of this run has tokens."));
    return;
  }
  section.append(ratesTable(entries));
  const body = el("div");
  const draw = (label) => {
    body.replaceChildren(...tokenView(entries.find((e) => e.label === label).tokens, label));
    for (const box of body.querySelectorAll(".chart")) paint(box); // now that it has a width
  };
  section.append(el("div", { class: "tools" }, choice("Entry", entries.map((e) => [e.label, e.label]), entries[0].label, draw)), body);
  draw(entries[0].label);
}

function ratesTable(entries) {
  const orders = [...new Set(entries.flatMap((e) => Object.keys((e.tokens.rates || {}).ngram || {}).filter((n) => n !== "missing")))];
  const rate = (key) => (e) => kbit((e.tokens.rates || {})[key]);
  const low = (key) => (e) => rate(key)(e) + (e.tokens.streams.some((s) => s[`${key}_biased`]) ? " *" : "");
  const columns = [["Entry", (e) => named(e.label)], ["nominal", rate("nominal")], ["packed", rate("packed")], ["entropy", rate("entropy")],
    ["conditional", low("conditional")], ["across codebooks", low("cross_codebook")],
    ...orders.map((n) => [`${n}-gram`, (e) => kbit(((e.tokens.rates || {}).ngram || {})[n])])];
  return smallTable("Rates of the codes, kbit/s, all streams together (n-gram: held-out code length)", entries, columns);
}

const TOO_LOW = "* too few pairs of codes were seen: the figure is too low. Held-out n-grams are safe from this.";
const kbit = (rate) => (typeof rate === "number" ? number(rate / 1000, 3) : DASH);

function tokenView(tokens, label) {
  const streams = tokens.streams.map((stream, k) => ({ ...stream, k }));
  const ink = (k) => `stream-line s${streams.length < 2 ? 0 : Math.round((7 * k) / (streams.length - 1))}`;
  const boxes = [
    figure("Lorenz curves", lines(streams, ink, (s) => s.lorenz, {
      label: `Lorenz curves, ${label}`, x: { domain: [0, 1], label: "share of the codes, rarest first" },
      y: { domain: [0, 1], label: "share of occurrences" } }, true), lorenzNote(streams)),
    figure("Count by rank", lines(streams, ink, (s) => s.rank_frequency, { label: `Count by rank, ${label}`, x: { log: true, label: "rank" }, y: { log: true, label: "occurrences" } }),
      "A straight line would be a power law; its slope stands in the table below."),
    figure("Codes in use", lines(streams, ink, (s) => s.growth, { label: `Codes used, ${label}`, x: { log: true, label: "tokens seen" }, y: { from: 0, label: "different codes" } }),
      "Expected number of different codes among so many tokens. A flat end: more sound would bring few new codes."),
  ];
  const key = streams.length > 1 ? el("p", { class: "key" }, "Streams, first to last: ", streams.map((s) => el("span", { class: ink(s.k) }, String(s.k + 1)))) : null;
  return [el("div", { class: "three" }, boxes), key, streamTable(streams, label)].filter(Boolean);
}

const figure = (name, box, note) => el("figure", {}, el("figcaption", {}, name), box, el("p", { class: "note" }, note));

function lines(streams, ink, curve, spec, diagonal = false) {
  const box = el("div", { class: "chart" });
  const shown = streams.map((s) => ({ s, points: (curve(s) || []).filter(([x, y]) => (!spec.x.log || x > 0) && (!spec.y.log || y > 0)) }));
  const all = shown.flatMap((one) => one.points);
  const domain = (axis, i) => axis.domain || (axis.from === 0 ? [0, 1.05 * all.reduce((most, p) => Math.max(most, p[i]), 1)] : around(all.map((p) => p[i]), { log: axis.log, margin: 0.03 }));
  chart(box, {
    ...spec, ratio: 0.75, x: { ...spec.x, domain: domain(spec.x, 0) }, y: { ...spec.y, domain: domain(spec.y, 1) },
    draw(g, sx, sy) {
      if (diagonal) g.append(svg("line", { class: "diagonal", x1: sx(0), y1: sy(0), x2: sx(1), y2: sy(1) }));
      for (const { s, points } of shown) g.append(svg("path", { class: ink(s.k), d: path(points.map(([x, y]) => [sx(x), sy(y)])), "data-tip": `stream ${s.k + 1}` }));
    },
  });
  return box;
}

function lorenzNote(streams) {
  const range = (values, show) => {
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))].map(show);
    return low === high ? low : `${low} to ${high}`;
  };
  const gini = range(streams.map((s) => s.gini), (v) => number(v, 2));
  const rarest = range(streams.map((s) => s.rarest20), (v) => percent(v));
  return `Gini ${gini}; the rarest 20 % of the codes hold ${rarest} of the occurrences (even use: 20 %). Dead codes are counted.`;
}

function streamTable(streams, label) {
  const biased = (s, name) => (s[`${name}_biased`] ? " *" : "");
  const columns = [["Stream", (s) => String(s.k + 1)], ["codes", (s) => grouped(s.size)], ["per s", (s) => short(s.rate)], ["tokens", (s) => grouped(s.tokens)],
    ["usage", (s) => percent(s.usage)], ["dead", (s) => grouped(s.dead)], ["entropy, bit", (s) => number(s.entropy, 2)],
    ["conditional", (s) => number(s.conditional_entropy, 2) + biased(s, "conditional")], ["perplexity", (s) => number(s.perplexity, 1)],
    ["Gini", (s) => number(s.gini, 3)], ["rarest 20 %", (s) => percent(s.rarest20)], ["top 20 %", (s) => percent(s.top20)],
    ["Zipf", (s) => number(s.zipf, 2)], ["mean run", (s) => number(s.mean_run, 2)]];
  const table = smallTable(`Codebooks of ${label}`, streams, columns);
  return streams.some((s) => s.conditional_biased) ? el("div", {}, table, el("p", { class: "note" }, TOO_LOW)) : table;
}
