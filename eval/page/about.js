// The run: what was measured, on what, with what; the definitions; and the results for machines.

const total = (data) => data.entries.reduce((sum, e) => sum + Object.values(e.summary).reduce((s, v) => s + Object.values((v && v.missing) || {}).reduce((a, b) => a + b, 0), 0), 0);

function lead(data) {
  const { about } = data;
  const codecs = data.entries.filter((e) => e.kind !== "original").length;
  const plural = (n, word) => `${grouped(n)} ${word}${n === 1 ? "" : "s"}`;
  const missing = total(data);
  byId("lead").append(`${plural(codecs, "entry").replace("entrys", "entries")} on ${plural(about.clips, "clip")} of speech, ${grouped(Math.round(about.seconds))} s, compared at ${short(about.rate / 1000)} kHz. `
    + `${plural(data.metrics.length, "metric")}; ${missing ? `${plural(missing, "value")} missing, each with its reason` : "no value missing"}.`);
}

function run(section, data) {
  const { about } = data;
  const source = about.source || {};
  const rows = [["Voxzoo", about.voxzoo], ["Python", about.python], ["torch", about.torch], ["Machine", about.machine], ["Source", source.path], ["Kind of source", source.kind],
    ["Listing, sha256", source.sha256], ["Clips", grouped(about.clips)], ["Sound", `${number(about.seconds, 1)} s`], ["Compared at", `${grouped(about.rate)} Hz`],
    ...Object.entries(about.arguments || {}).filter(([key]) => key !== "rate").map(([key, value]) => [`--${key.replaceAll("_", "-")}`, value])];
  const facts = rows.filter(([, value]) => value !== undefined && value !== null && text(value) !== "");
  section.append(el("dl", { class: "card" }, facts.map(([key, value]) => el("div", {}, el("dt", {}, key), el("dd", {}, named(text(value)))))),
    entriesTable(data), missingTable(data), rejectedTable(data), download(data));
}

function text(value) {
  if (Array.isArray(value)) return value.map(text).join(", ");
  return typeof value === "object" ? Object.entries(value).map(([key, v]) => `${key}=${v}`).join(", ") : String(value);
}

function entriesTable(data) {
  const fact = (key, show = text) => (e) => (e.facts && e.facts[key] !== undefined && e.facts[key] !== null ? show(e.facts[key]) : DASH);
  const columns = [["Entry", (e) => named(e.label)], ["kbit/s", (e) => (e.bitrate ? number(e.bitrate / 1000, 3) : DASH)], ["streams", (e) => (e.streams ? String(e.streams) : DASH)],
    ["Hz", fact("sample_rate", grouped)], ["frames/s", fact("frame_rates", (r) => [...new Set(r)].join(", "))], ["codebooks", fact("codebook_sizes", (r) => `${r.length} \u00d7 ${[...new Set(r)].join(", ")}`)],
    ["parameters", fact("params", (n) => `${number(n / 1e6, 1)} M`)], ["licence of the weights", fact("weights_licence")], ["fingerprint", (e) => (e.fingerprint ? named(String(e.fingerprint).slice(0, 16)) : DASH)]];
  return smallTable("Entries", data.entries.filter((e) => e.kind !== "original"), columns);
}

function missingTable(data) {
  const rows = data.entries.flatMap((entry) => data.metrics.flatMap((metric) => Object.entries((entry.summary[metric.name] || {}).missing || {})
    .map(([reason, count]) => ({ entry, metric, reason, count }))));
  if (!rows.length) return el("p", { class: "note" }, "No value is missing.");
  const table = smallTable("Missing values", rows, [["Entry", (r) => named(r.entry.label)], ["metric", (r) => r.metric.label], ["clips", (r) => grouped(r.count)], ["reason", (r) => named(r.reason)]]);
  table.firstChild.classList.add("words");
  return el("details", {}, el("summary", {}, `Missing values and their reasons (${grouped(total(data))})`), table);
}

function rejectedTable(data) {
  if (!data.rejected || !data.rejected.length) return "";
  const table = smallTable("Clips that were left out", data.rejected, [["Clip", (r) => named(r.id)], ["reason", (r) => named(r.reason)]]);
  table.firstChild.classList.add("words");
  return el("details", {}, el("summary", {}, `Clips that were left out (${grouped(data.rejected.length)})`), table);
}

function download(data) {
  const save = () => {
    const link = el("a", { download: "results.json", href: URL.createObjectURL(new Blob([JSON.stringify(results(data), null, 1)], { type: "application/json" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  return el("p", {}, el("button", { type: "button", class: "download", onclick: save }, "Save the results as JSON"),
    el("span", { class: "note" }, " The form of results.json, without sound; values of single clips to 7 digits."));
}

// results.json again, out of the columns of the page.
function results(data) {
  const labels = data.entries.map((e) => e.label);
  const clips = data.clips.map((clip, i) => ({ ...clip, reasons: {}, values: Object.fromEntries(labels.map((label, j) => [label,
    Object.fromEntries(data.metrics.map((m, k) => [m.name, data.values[k][j][i]]))])) }));
  for (const [i, j, k, reason] of data.reasons) (clips[i].reasons[labels[j]] ||= {})[data.metrics[k].name] = reason;
  const listed = data.examples.map(({ id, seconds, tracks }) => ({ id, seconds, codes: Object.fromEntries(tracks.filter((t) => t.codes).map((t) => [t.label, t.codes])) }));
  const { format, about, metrics, entries, tests, calibration, rejected } = data;
  return { format, about, metrics, entries, tests, calibration, clips, rejected, examples: listed };
}

function definitions(section, data) {
  const item = (name, tail, words) => el("div", {}, el("dt", {}, name, el("small", {}, tail)), el("dd", {}, words));
  for (const group of new Set(data.metrics.map((m) => m.group))) {
    const own = data.metrics.filter((m) => m.group === group);
    section.append(el("h3", {}, groupTitle(group)), el("dl", { class: "definitions" }, own.map((m) => item(m.label, ` ${[m.unit, better(m)].filter(Boolean).join(", ")}`, m.definition))));
  }
  section.append(el("h3", {}, "Intervals and tests"), el("p", {}, title(data.notes.statistics) + "."), calibration(data));
  if (!data.entries.some((e) => e.tokens)) return;
  const notes = Object.entries(data.notes.tokens).map(([name, words]) => item(name, "", words));
  section.append(el("details", {}, el("summary", {}, "Figures of the tokens"), el("dl", { class: "definitions" }, notes)));
}

function calibration(data) {
  const found = Object.entries(data.calibration || {}).filter(([, c]) => c && c.pairs && (c.same ?? c.different ?? null) !== null);
  if (!found.length) return "";
  const side = (who, mean, pairs) => (mean === null ? `there are no pairs of ${who}` : `${who} have ${number(mean, 3)} on average (${grouped(pairs)} pairs)`);
  const said = ([name, { same, different, pairs }]) => `To read ${name.replaceAll("_", " ")} by, between originals: ${side("one speaker's clips", same, pairs[0])}, ${side("different speakers' clips", different, pairs[1])}.`;
  return el("p", {}, found.map(said).join(" "));
}
