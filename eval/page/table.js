// The table of all entries and metrics: sorted by any column, its groups shown or hidden.

function resultsTable(section, data) {
  const groups = [...new Set(data.metrics.map((m) => m.group))];
  const state = { key: null, down: false };
  const table = el("table", { class: "results" });
  const rows = data.entries.map((entry, order) => ({ entry, order, row: el("tr", { class: entry.kind }) }));
  for (const item of rows) item.row.append(entryCell(item.entry), ...data.metrics.map((m) => valueCell(item.entry, m, bestOf(data, m))));
  const body = el("tbody", {}, rows.map((item) => item.row));
  const heads = new Map();
  const sort = (key, metric) => {
    const first = !metric || metric.better === "lower" || metric.better === null ? false : true;
    state.down = state.key === key ? !state.down : first;
    state.key = key;
    for (const [name, head] of heads) head.setAttribute("aria-sort", name !== key ? "none" : state.down ? "descending" : "ascending");
    body.append(...ordered(rows, key, state.down).map((item) => item.row));
  };
  const head = (key, metric, content) => {
    const button = el("button", { type: "button", onclick: () => sort(key, metric), "data-tip": metric ? `${[metric.unit, better(metric)].filter(Boolean).join("; ")}; sort` : "sort by name" }, content);
    heads.set(key, el("th", { scope: "col", "aria-sort": "none", "data-group": metric && metric.group }, button));
    return heads.get(key);
  };
  const span = (group) => data.metrics.filter((m) => m.group === group).length;
  table.append(el("caption", { class: "unseen" }, "Means over clips by entry and metric"), el("thead", {},
    el("tr", { class: "groups" }, el("td", {}), groups.map((g) => el("th", { scope: "colgroup", colspan: span(g), "data-group": g }, groupTitle(g)))),
    el("tr", {}, head("", null, ["Entry"]), data.metrics.map((m) => head(m.name, m, metricHead(m))))), body);
  section.append(tableTools(table, groups), scroller(table, "Results"), tableNote(data));
}

const metricHead = (metric) => [el("span", { class: "metric" }, metric.label, arrow(metric) && el("span", { class: "way", "aria-hidden": "true" }, arrow(metric))),
  el("span", { class: "unit" }, unitOf(metric))];

function entryCell(entry) {
  const kind = { anchor: "anchor", original: "as recorded" }[entry.kind];
  const rate = entry.bitrate ? `${short(entry.bitrate / 1000)}\u00a0kbit/s` : "";
  return el("th", { scope: "row" }, named(entry.label), el("span", { class: "kind" }, [kind, rate].filter(Boolean).join(", ")));
}

// Shown digits of the best mean of an entry that is a codec: equal to the digits is equally good.
function bestOf(data, metric) {
  const shown = data.entries.filter((e) => e.kind !== "original").map((e) => meanOf(e, metric)).filter((v) => v !== null);
  if (!metric.better || shown.length < 2) return null;
  return number(shown.reduce((a, b) => (metric.better === "higher" ? Math.max(a, b) : Math.min(a, b))), metric.digits);
}

function meanOf(entry, metric) {
  const summary = entry.summary[metric.name];
  return summary && summary.mean !== undefined ? summary.mean : null;
}

function valueCell(entry, metric, best) {
  const summary = entry.summary[metric.name];
  const mean = meanOf(entry, metric);
  const text = number(mean, metric.digits);
  const isBest = mean !== null && entry.kind !== "original" && text === best;
  const parts = [el("span", { class: isBest ? "mean best" : "mean" }, text)];
  if (summary && summary.low !== null && summary.low !== undefined) {
    parts.push(el("span", { class: "interval" }, `[${number(summary.low, metric.digits)}, ${number(summary.high, metric.digits)}]`));
  }
  const missing = Object.entries((summary && summary.missing) || {});
  if (missing.length) {
    const count = missing.reduce((sum, [, n]) => sum + n, 0);
    const why = missing.map(([reason, n]) => `${n} \u00d7 ${reason}`).join("\n");
    parts.push(el("button", { type: "button", class: "missing", "data-tip": why, "aria-label": `${count} missing: ${why}` }, `${count} missing`));
  }
  return el("td", { "data-group": metric.group, "data-value": mean }, parts);
}

function ordered(rows, key, down) {
  const value = (item) => (key === "" ? item.entry.label : meanOf(item.entry, { name: key }));
  const compare = (a, b) => (key === "" ? a.localeCompare(b, "en", { numeric: true }) : a - b);
  return [...rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null) || a.order - b.order;
    return (down ? -1 : 1) * compare(x, y) || a.order - b.order;
  });
}

function tableTools(table, groups) {
  const box = (text, checked, change) => {
    const input = el("input", { type: "checkbox", checked, onchange: () => change(input.checked) });
    return el("label", { class: "chip" }, input, el("span", {}, text));
  };
  const show = (group) => (on) => { for (const cell of table.querySelectorAll(`[data-group="${group}"]`)) cell.hidden = !on; };
  const parts = groups.length > 1 ? groups.map((group) => box(groupTitle(group), true, show(group))) : [];
  return el("div", { class: "tools", role: "group", "aria-label": "Columns" }, parts,
    box("95 % intervals", true, (on) => table.classList.toggle("bare", !on)));
}

function tableNote(data) {
  const kinds = new Set(data.entries.map((e) => e.kind));
  const text = ["Means over clips, 95 % bootstrap intervals below them. Bold: best of the codecs, to the digits shown."];
  if (kinds.has("original")) text.push("\u201cAs recorded\u201d is the sound that went in, where a metric needs no reference.");
  text.push("A value that could not be computed is missing, never a number; the count stands in the cell, the reasons behind it. Arrows say which way is better.");
  return el("p", { class: "note" }, text.join(" "));
}
