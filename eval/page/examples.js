// Examples to listen to: one clip, all entries, one position. Choosing another track goes on at the same instant.

const STRIP = 7; // pixels of a stream's row
const MOST = 30; // dB of difference that have a colour

function examples(section, data) {
  if (!data.examples.length) {
    section.append(el("p", { class: "note" }, "No examples were kept in this run."));
    return;
  }
  const { low, high } = data.spectrogram;
  const plays = [];
  const difference = el("input", { type: "checkbox", onchange: () => {
    section.classList.toggle("different", difference.checked);
    for (const canvas of section.querySelectorAll("canvas.difference")) if (canvas.fillIn) canvas.fillIn();
  } });
  section.append(
    el("p", { class: "note" }, "Choose a track with a tap or, while it plays, with the up and down keys: it goes on where the other one was. Touch a spectrogram to go to that instant."),
    el("div", { class: "tools" }, el("label", { class: "chip" }, difference, el("span", {}, "Difference from the original")), colourBars(data)),
    ...data.examples.map((example, i) => exampleCard(data, example, i, plays)),
    el("p", { class: "note" }, `Spectrograms: Hann window of 32 ms, 0 to ${short(data.about.rate / 2000)} kHz from bottom to top, linear; dB re a full-scale sine, ${number(low, 0)} to ${number(high, 0)} in all of them. `
      + "Difference: level minus that of the original, drawn by the page. Below: the codes of the first streams (the first on top), one colour for each code."));
}

// Which colour is which level, and which difference.
function colourBars(data) {
  const { palette, low, high } = data.spectrogram;
  const bar = (kind, from, colours, to) => {
    const canvas = el("canvas", { width: colours.length, height: 1, "aria-hidden": "true" });
    const pen = canvas.getContext("2d");
    colours.forEach(([r, g, b], i) => { pen.fillStyle = `rgb(${r},${g},${b})`; pen.fillRect(i, 0, 1, 1); });
    return el("span", { class: `bar ${kind}` }, from, canvas, `${to} dB`);
  };
  const shares = Array.from({ length: 61 }, (_, i) => differenceColour((i - 30) / 30));
  return [bar("level", number(low, 0), palette, number(high, 0)), bar("change", `\u2212${MOST}`, shares, `+${MOST}`)];
}

function exampleCard(data, example, index, plays) {
  const clip = data.clips.find((c) => c.id === example.id) || {};
  const rows = example.tracks.map((track, i) => trackRow(data, example, track, `example-${index}`, i === 0));
  const player = makePlayer(example, rows, plays);
  plays.push(player);
  const about = [clip.speaker ? ["speaker ", named(clip.speaker), ", "] : [], `${number(example.seconds, 2)} s`].flat();
  return el("article", { class: "example" }, el("h3", {}, named(example.id), el("small", {}, " ", about)),
    clip.text ? el("p", { class: "said", dir: "auto" }, clip.text) : null, player.transport,
    el("div", { class: "tracks", role: "radiogroup", "aria-label": "Track" }, rows.map((row) => row.node)));
}

function trackRow(data, example, track, group, chosen) {
  const input = el("input", { type: "radio", name: group, value: track.label, checked: chosen, disabled: !track.audio });
  const head = el("label", { class: "track" }, input, el("span", {}, named(track.label), el("span", { class: "scores" }, scoresOf(data, example, track))));
  if (!track.picture) return { node: el("div", { class: "row" }, head, el("p", { class: "note" }, track.problem)), input, track, heads: [] };
  const image = el("img", { alt: `Spectrogram, ${track.label}`, width: 600, height: 128, src: `data:image/png;base64,${track.picture}` });
  const playhead = el("div", { class: "playhead" });
  const picture = el("div", { class: "picture" }, image, track === example.tracks[0] ? null : differenceCanvas(data, example, image), playhead);
  const strip = track.codes && track.codes.length ? tokenStrip(track.codes) : null;
  return { node: el("div", { class: "row" }, head, el("div", {}, picture, strip)), input, track, picture, heads: [playhead] };
}

function scoresOf(data, example, track) {
  const clip = data.clips.findIndex((c) => c.id === example.id);
  const entry = data.entries.findIndex((e) => e.label === track.label);
  if (clip < 0 || entry < 0) return [];
  const found = data.main.map((name) => data.metrics.findIndex((m) => m.name === name)).map((k) => [data.metrics[k], data.values[k][entry][clip]]);
  return found.filter(([, value]) => value !== null).slice(0, 4).map(([m, value]) => [el("span", {}, `${m.label} ${number(value, m.digits)}`), " "]);
}

// Filled in when first asked for: levels of two pictures are read back by their colours.
function differenceCanvas(data, example, image) {
  const canvas = el("canvas", { class: "difference", width: 600, height: 128, role: "img", "aria-label": "Difference from the original" });
  canvas.fillIn = async () => {
    canvas.fillIn = null;
    const original = new Image();
    original.src = `data:image/png;base64,${example.tracks[0].picture}`;
    await Promise.all([image.decode(), original.decode()]);
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const known = new Map(data.spectrogram.palette.map(([r, g, b], i) => [(r << 16) | (g << 8) | b, i]));
    const [own, other] = [image, original].map((one) => levelsOf(one, canvas, known));
    drawDifference(canvas, own, other, (data.spectrogram.high - data.spectrogram.low) / data.spectrogram.levels);
  };
  return canvas;
}

function levelsOf(image, { width, height }, known) {
  const pen = el("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, 0, 0, width, height);
  const { data } = pen.getImageData(0, 0, width, height);
  return Array.from({ length: width * height }, (_, i) => known.get((data[4 * i] << 16) | (data[4 * i + 1] << 8) | data[4 * i + 2]) ?? 0);
}

function drawDifference(canvas, own, other, decibels) {
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(canvas.width, canvas.height);
  own.forEach((level, i) => {
    const share = Math.max(-1, Math.min(1, ((level - other[i]) * decibels) / MOST));
    pixels.data.set([...differenceColour(share), 255], 4 * i);
  });
  pen.putImageData(pixels, 0, 0);
}

// Blue for less than the original, red for more.
function differenceColour(share) {
  return (share > 0 ? [178, 24, 43] : [33, 102, 172]).map((end) => 247 + (end - 247) * Math.abs(share));
}

// Colours far apart for neighbouring codes; every stream stretched over the whole clip, whatever its rate.
function tokenStrip(codes) {
  const columns = codes.reduce((most, stream) => Math.max(most, stream.length), 1);
  const canvas = el("canvas", { class: "strip", width: columns, height: codes.length, role: "img", "aria-label": `Codes of ${codes.length} streams` });
  canvas.style.height = `${codes.length * STRIP}px`;
  const pen = canvas.getContext("2d");
  codes.forEach((stream, k) => stream.forEach((code, n) => {
    pen.fillStyle = `hsl(${(code * 137.508) % 360} ${55 + (code % 3) * 12}% ${42 + (code % 5) * 7}%)`;
    const from = Math.round((n * columns) / stream.length);
    pen.fillRect(from, k, Math.round(((n + 1) * columns) / stream.length) - from, 1);
  }));
  return canvas;
}

function makePlayer(example, rows, plays) {
  const state = { row: rows.find((row) => row.track.audio), sound: null, at: 0 };
  const clock = el("output", { "aria-live": "off" }, ""); // it changes all the time
  const seek = el("input", { type: "range", min: 0, max: example.seconds, step: 0.01, value: 0, "aria-label": "Position" });
  const button = el("button", { type: "button", class: "play", "aria-label": "Play", disabled: !state.row, onclick: () => (playing() ? stop() : play()) });
  const playing = () => state.sound !== null && !state.sound.paused;
  const show = () => {
    if (playing()) state.at = state.sound.currentTime;
    seek.value = state.at;
    clock.textContent = `${number(state.at, 1)} / ${number(example.seconds, 1)} s`;
    seek.setAttribute("aria-valuetext", clock.textContent);
    for (const row of rows) for (const head of row.heads) head.style.left = `${(100 * state.at) / example.seconds}%`;
    if (playing()) requestAnimationFrame(show);
  };
  const mark = () => {
    button.classList.toggle("on", playing());
    button.setAttribute("aria-label", playing() ? "Pause" : "Play");
    show();
  };
  const stop = () => { if (state.sound) state.sound.pause(); mark(); };
  const play = async () => {
    for (const other of plays) if (other.stop !== stop) other.stop();
    const before = state.sound;
    state.sound = soundOf(state.row, mark, () => { state.at = 0; mark(); });
    if (state.sound !== before || Math.abs(state.sound.currentTime - state.at) > 0.05) state.sound.currentTime = state.at;
    try { await state.sound.play(); } catch (error) { if (error.name !== "AbortError") byId("live").textContent = `This browser cannot play the clip: ${error.message}`; }
    if (before && before !== state.sound) before.pause();
    mark();
  };
  const go = (time) => { state.at = Math.max(0, Math.min(time, example.seconds)); if (state.sound) state.sound.currentTime = state.at; show(); };
  const change = (row) => { const on = playing(); if (on) state.at = state.sound.currentTime; else if (state.sound) stop(); state.row = row; if (on) play(); };
  for (const row of rows) {
    row.input.addEventListener("change", () => change(row));
    if (!row.picture) continue;
    row.picture.addEventListener("click", (event) => {
      const box = row.picture.getBoundingClientRect();
      if (!row.input.checked && row.track.audio) { row.input.checked = true; change(row); }
      go((example.seconds * (event.clientX - box.left)) / box.width);
    });
  }
  seek.addEventListener("input", () => go(Number(seek.value)));
  show();
  return { stop, transport: el("div", { class: "transport" }, button, seek, clock) };
}

// The element is made, and its sound decoded, when the track is first played.
function soundOf(row, changed, ended) {
  if (!row.sound) {
    const bytes = Uint8Array.from(atob(row.track.audio), (c) => c.charCodeAt(0));
    row.sound = el("audio", { hidden: true, "data-track": row.track.label, onplay: changed, onpause: changed, onended: ended,
      src: URL.createObjectURL(new Blob([bytes], { type: "audio/flac" })) });
    row.node.append(row.sound);
  }
  return row.sound;
}
