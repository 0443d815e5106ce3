"use strict";
// Draws a run: servers are lines, time goes to the right, messages are arrows.
const data = JSON.parse(document.getElementById("data").textContent);
const lists = data.lists;
const el = (id) => document.getElementById(id);
const canvas = el("picture");
const pen = canvas.getContext("2d");
const LEFT = 74, TOP = 46, BOTTOM = 30;
const COLOURS = {
  Batch: "#1570ef", Query: "#dc6803", Offer: "#b54708", Fetch: "#93370d", Answer: "#099250",
  Heartbeat: "#98a2b3", HeartbeatRequest: "#667085", Pull: "#7a5af8", Delta: "#c11574",
  Ack: "#0e9384", Leave: "#101828", Verify: "#9e77ed", Verified: "#9e77ed", Mend: "#e31b54",
  Mended: "#e31b54",
};
// A command that is new is drawn all the same.
for (const row of lists.sent) COLOURS[row[4]] ??= "#475467";
for (const row of lists.lost) COLOURS[row[3]] ??= "#475467";
// By night: each colour of the page, and what takes its place on a dark ground.
const DARK = {
  "#f2f4f7": "#2a3140", "#667085": "#98a2b3", "#475467": "#b4bccb", "#d0d5dd": "#475467", "#1d2433": "#e4e7ec",
  "#101828": "#d0d5dd", "#98a2b3": "#667085", "#c81e3a": "#ff6b81", "#b54708": "#fdb022", "#93370d": "#f79009",
  "#1570ef": "#53b1fd", "#7a5af8": "#a48afb", "#099250": "#32d583", "#c11574": "#f670c7", "#0e9384": "#2ed3b7",
  "#dc6803": "#fdb022", "#9e77ed": "#b692f6", "#e31b54": "#fd6f8e",
};
const night = matchMedia("(prefers-color-scheme: dark)");
const ink = (colour) => (night.matches && DARK[colour]) || colour;
const failedAt = data.broken ? Math.round(data.broken.at_s * 1e6) : null;
const last = Math.max(failedAt ?? data.end, data.from + 1000);
const shown = new Set(Object.keys(COLOURS));
const view = { from: 0, to: 1 };
let chosen = -1, moment = failedAt ?? last, height = 0, hovered = null, drawn = [], crowded = false;

const seconds = (t) => (t / 1e6).toFixed(6).replace(/0{1,3}$/, "") + " s";
const name = (n) => "session " + (n + 1);
// A sentence with short names and with times since the start.
function plain(sentence) {
  data.sessions.map((full, n) => [full, name(n)]).sort((a, b) => b[0].length - a[0].length)
    .forEach(([full, short]) => { sentence = sentence.replaceAll(full, short); });
  const since = (ms) => ((Number(ms) - data.start_ms) / 1000).toFixed(3);
  return sentence
    .replace(/(\d+)@(\d{13})/g, (_, number, boot) => Number(boot) === data.start_ms ? `server ${number}` : `server ${number} (since ${since(boot)})`)
    .replace(/\b(\d{13})\.(\d+)\b/g, (_, ms, counter) => since(ms) + (counter === "0" ? "" : "+" + counter));
}
const names = (about) => about.map((n) => name(n) + " (" + data.sessions[n] + ")").join("\n");
const x = (t) => LEFT + ((t - view.from) / (view.to - view.from)) * (canvas.clientWidth - LEFT - 12);
const time = (px) => view.from + ((px - LEFT) / (canvas.clientWidth - LEFT - 12)) * (view.to - view.from);
const y = (server) => TOP + (server + 0.5) * ((height - TOP - BOTTOM) / data.servers);
const wanted = (about) => chosen < 0 || about.includes(chosen);

// What a server has at a moment: the state is the sum of all changes up to it.
const perServer = Array.from({ length: data.servers }, () => ({ applied: [], copies: [], life: [] }));
for (const row of lists.applied) perServer[row[1]].applied.push(row);
for (const row of lists.copies) perServer[row[1]].copies.push(row);
for (const row of lists.faults) perServer[row[1]].life.push(row);
function latest(rows, t) {
  let low = 0, high = rows.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (rows[mid][0] <= t) low = mid + 1; else high = mid;
  }
  return low ? rows[low - 1] : null;
}
const appliedAt = (server, t) => latest(perServer[server].applied, t)?.[2] || "nothing";
function copiesAt(server, t) {
  const copies = new Map();
  for (const [at, , session, shows] of perServer[server].copies) {
    if (at > t) break;
    if (shows === null) copies.delete(session); else copies.set(session, shows);
  }
  return copies;
}
function lifeAt(server, t) {
  // All others run when a world begins.
  let life = data.later.includes(server + 1) ? "down" : "up";
  for (const [at, , what] of perServer[server].life) {
    if (at > t) break;
    if (what === "start" || what === "resume") life = life === "down" && what === "resume" ? life : "up";
    if (what === "crash") life = "down";
    if (what === "pause" && life !== "down") life = "paused";
  }
  return life;
}

function arrow(x1, y1, x2, y2, colour, alpha) {
  pen.globalAlpha = alpha;
  pen.strokeStyle = pen.fillStyle = ink(colour);
  pen.beginPath(); pen.moveTo(x1, y1); pen.lineTo(x2, y2); pen.stroke();
  if (crowded && alpha < 1) { pen.globalAlpha = 1; return; }
  const angle = Math.atan2(y2 - y1, x2 - x1);
  pen.beginPath(); pen.moveTo(x2, y2);
  pen.lineTo(x2 - 7 * Math.cos(angle - 0.35), y2 - 7 * Math.sin(angle - 0.35));
  pen.lineTo(x2 - 7 * Math.cos(angle + 0.35), y2 - 7 * Math.sin(angle + 0.35));
  pen.fill();
  pen.globalAlpha = 1;
}
function cross(px, py, size, colour) {
  pen.strokeStyle = ink(colour); pen.lineWidth = 2; pen.beginPath();
  pen.moveTo(px - size, py - size); pen.lineTo(px + size, py + size);
  pen.moveTo(px - size, py + size); pen.lineTo(px + size, py - size);
  pen.stroke(); pen.lineWidth = 1;
}
function text(words, px, py, colour, align = "left") {
  pen.textAlign = align;
  // Words stay legible on top of lines.
  pen.strokeStyle = night.matches ? "rgba(22, 27, 38, 0.85)" : "rgba(255, 255, 255, 0.85)"; pen.lineWidth = 3; pen.lineJoin = "round";
  pen.strokeText(words, px, py); pen.lineWidth = 1;
  pen.fillStyle = ink(colour); pen.fillText(words, px, py);
}

function drawAxis() {
  const span = view.to - view.from;
  const rough = span / Math.max(2, canvas.clientWidth / 110);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const digits = Math.max(0, Math.min(6, 6 - Math.floor(Math.log10(step))));
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    pen.strokeStyle = ink("#f2f4f7");
    pen.beginPath(); pen.moveTo(x(t), TOP); pen.lineTo(x(t), height - BOTTOM); pen.stroke();
    text((t / 1e6).toFixed(digits) + " s", x(t), height - 10, "#667085", "center");
  }
  if (data.begin > view.from && data.begin < view.to) {
    pen.strokeStyle = ink("#98a2b3");
    pen.beginPath(); pen.moveTo(x(data.begin), TOP); pen.lineTo(x(data.begin), height - BOTTOM); pen.stroke();
    text("at_s = 0: customers come", x(data.begin) + 4, height - BOTTOM - 4, "#667085");
  }
}
function drawServers() {
  for (let server = 0; server < data.servers; server++) {
    const changes = [...perServer[server].life.map((row) => row[0]).filter((t) => t > view.from && t < view.to)];
    const stops = [view.from, ...changes, view.to];
    for (let n = 0; n + 1 < stops.length; n++) {
      const life = lifeAt(server, stops[n]);
      pen.strokeStyle = ink({ up: "#475467", paused: "#f79009", down: "#d0d5dd" }[life]);
      pen.lineWidth = life === "paused" ? 5 : 2;
      pen.setLineDash(life === "down" ? [3, 5] : []);
      pen.beginPath(); pen.moveTo(x(stops[n]), y(server)); pen.lineTo(x(stops[n + 1]), y(server)); pen.stroke();
    }
    pen.setLineDash([]); pen.lineWidth = 1;
    pen.font = "600 13px system-ui, sans-serif";
    text("server " + (server + 1), 8, y(server) + 4, "#1d2433");
    pen.font = "12px system-ui, sans-serif";
  }
}
// In a long view there are more messages than places: heads and crosses would hide everything.
const MANY = 1500;
const inView = (row) => row[0] >= view.from && row[0] <= view.to;
function drawMessages() {
  crowded = lists.sent.filter(inView).length > MANY;
  for (const row of lists.sent) {
    const [at, due, from, to, command, about, damaged] = row;
    if (due < view.from || at > view.to || !shown.has(command) || !wanted(about)) continue;
    const line = [x(at), y(from), x(due), y(to)];
    // Many heartbeats lie side by side in a long view: they are only hinted at.
    const quiet = command === "Heartbeat" ? (view.to - view.from > 5e6 ? 0.1 : 0.35) : crowded ? 0.35 : 0.85;
    if (row === hovered) pen.lineWidth = 3;
    pen.setLineDash(damaged ? [4, 3] : []);
    arrow(...line, damaged ? "#c81e3a" : COLOURS[command], row === hovered ? 1 : quiet);
    pen.setLineDash([]); pen.lineWidth = 1;
    if (damaged) cross(line[2], line[3], 4, "#c81e3a");
    drawn.push({ kind: "arrow", row, line, about: () => `${command}${damaged ? ", damaged on the way: refused" : ""}\nfrom server ${from + 1} at ${seconds(at)} to server ${to + 1} at ${seconds(due)}\n${names(about)}\nserver ${from + 1} had applied: ${appliedAt(from, at)}\nserver ${to + 1} has then applied: ${appliedAt(to, due)}` });
  }
  for (const row of lists.lost) {
    const [at, from, to, command, about, why] = row;
    if (at < view.from || at > view.to || !shown.has(command) || !wanted(about)) continue;
    const line = [x(at), y(from), x(at) + 14, y(from) + (y(to) - y(from)) * 0.35];
    pen.setLineDash([3, 3]);
    pen.strokeStyle = ink(COLOURS[command]); pen.globalAlpha = command === "Heartbeat" ? 0.5 : 0.9;
    pen.beginPath(); pen.moveTo(line[0], line[1]); pen.lineTo(line[2], line[3]); pen.stroke();
    pen.setLineDash([]);
    cross(line[2], line[3], crowded ? 1.5 : command === "Heartbeat" ? 3 : 4, why === "clogged" ? "#f79009" : "#c81e3a");
    pen.globalAlpha = 1;
    drawn.push({ kind: "lost", row, line, about: () => `${command} from server ${from + 1} to server ${to + 1} ${why === "clogged" ? "waits on a clogged link" : "lost: " + why}\nat ${seconds(at)}\n${names(about)}` });
  }
}
function drawRequests() {
  const point = (kind, row, px, py, about) => drawn.push({ kind, row, line: [px - 1, py, px + 1, py], about, near: 8 });
  const seen = (row) => inView(row) && (wanted(row[3]) || !row[3].length);
  const perServerCount = Array(data.servers).fill(0);
  for (const row of lists.asked) if (seen(row)) perServerCount[row[1]]++;
  // Where they stand close, each is a stroke, and words come when there is room.
  const close = perServerCount.map((count) => count > (canvas.clientWidth - LEFT) / 22);
  // A label that would lie on another one is left out.
  const ends = Array(data.servers).fill(LEFT), ends2 = Array(data.servers).fill(LEFT);
  const label = (words, px, py, colour, until, server) => {
    const half = pen.measureText(words).width / 2;
    if (close[server] || px - half < until[server]) return;
    text(words, px, py, colour, "center");
    until[server] = px + half + 4;
  };
  for (const row of lists.asked.filter(seen)) {
    const [at, server, what, about] = row, px = x(at), py = y(server);
    pen.fillStyle = ink("#1d2433");
    if (close[server]) { pen.globalAlpha = 0.6; pen.fillRect(px - 0.5, py - 10, 1, 7); pen.globalAlpha = 1; }
    else { pen.beginPath(); pen.moveTo(px, py - 3); pen.lineTo(px - 5, py - 12); pen.lineTo(px + 5, py - 12); pen.fill(); }
    label(what, px, py - 15, "#1d2433", ends, server);
    point("asked", row, px, py - 8, () => `A customer asks server ${server + 1}: ${what}\nat ${seconds(at)}\n${names(about)}`);
  }
  // What was refused lies on top.
  for (const row of lists.answered.filter(seen).sort((a, b) => b[4] - a[4])) {
    const [at, server, what, about, good] = row;
    const px = x(at), py = y(server), colour = good ? "#099250" : "#c81e3a";
    pen.fillStyle = ink(colour);
    if (close[server]) pen.fillRect(px - (good ? 0.5 : 1), py + 3, good ? 1 : 2, good ? 6 : 11);
    else { pen.beginPath(); pen.arc(px, py + 7, 4, 0, 7); pen.fill(); }
    if (!good) label(what.length > 34 ? what.slice(0, 33) + "…" : what, px, py + 23, colour, ends2, server);
    point("answered", row, px, py + 7, () => `Server ${server + 1} answers: ${what}\nat ${seconds(at)}\n${names(about)}\napplied: ${appliedAt(server, at)}`);
  }
}
// While links are cut or clogged, it is said above the lines, and the smaller sides have another ground.
const GROUNDS = ["rgba(247, 144, 9, 0.16)", "rgba(122, 90, 248, 0.14)", "rgba(9, 146, 80, 0.14)", "rgba(200, 30, 58, 0.12)"];
const links = lists.links.map(([at, cut, clogged], n) => ({ at, until: lists.links[n + 1]?.[0] ?? last, cut, clogged }))
  .filter((span) => span.cut.length + span.clogged.length > 0);
function sides(cut) {
  const broken = new Set(cut.map(([from, to]) => Math.min(from, to) + " " + Math.max(from, to)));
  const side = Array(data.servers).fill(-1), all = [];
  for (let first = 0; first < data.servers; first++) {
    if (side[first] >= 0) continue;
    const members = [first];
    side[first] = all.length;
    for (let n = 0; n < members.length; n++)
      for (let other = 0; other < data.servers; other++)
        if (side[other] < 0 && !broken.has(Math.min(members[n], other) + " " + Math.max(members[n], other))) {
          side[other] = all.length;
          members.push(other);
        }
    all.push(members.sort((a, b) => a - b));
  }
  return all.sort((a, b) => b.length - a.length);
}
function cutWords({ cut, clogged }) {
  const list = (some) => some.slice(0, 8).map(([from, to]) => `${from + 1}→${to + 1}`).join(" ") + (some.length > 8 ? ` and ${some.length - 8} more` : "");
  const all = sides(cut), words = [];
  if (all.length > 1) words.push("cut: " + all.map((side) => side.map((server) => server + 1).join(" ")).join(" | "));
  const across = all.length < 2 ? 0 : all.reduce((sum, side) => sum + side.length * (data.servers - side.length), 0);
  if (cut.length && (all.length < 2 || cut.length !== across)) words.push("cut: " + list(cut));
  if (clogged.length) words.push("clogged: " + list(clogged));
  return words.join("; ");
}
function drawLinks() {
  const row = (height - TOP - BOTTOM) / data.servers;
  for (const span of links) {
    if (span.until < view.from || span.at > view.to) continue;
    const from = Math.max(LEFT - 4, x(span.at)), to = Math.min(canvas.clientWidth, x(span.until));
    sides(span.cut).slice(1).forEach((side, n) => {
      pen.fillStyle = GROUNDS[n % GROUNDS.length];
      side.forEach((server) => pen.fillRect(from, y(server) - row / 2, to - from, row));
    });
    pen.fillStyle = ink("#f79009");
    pen.fillRect(from, TOP - 6, Math.max(1, to - from), 4);
    drawn.push({ kind: "links", row: span, line: [from, TOP - 4, to, TOP - 4], near: 4, about: () => `${cutWords(span)}\nfrom ${seconds(span.at)} to ${seconds(span.until)}` });
  }
}
function drawFaults() {
  let end = -1, bolt = -20;
  const ends = Array(data.servers).fill(-1);
  for (const row of lists.scheduled) {
    const [at, what] = row;
    if (at < view.from || at > view.to) continue;
    const px = x(at);
    pen.strokeStyle = "#f79009"; pen.setLineDash([2, 4]);
    pen.beginPath(); pen.moveTo(px, 22); pen.lineTo(px, height - BOTTOM); pen.stroke();
    pen.setLineDash([]);
    // Where there is no room for words, the sign alone says that there is something.
    const words = px > end ? "⚡ " + what : px > bolt + 9 ? "⚡" : "";
    if (words) { text(words, px + 2, words === "⚡" ? 30 : 17, "#b54708"); bolt = px; }
    if (words.length > 1) end = px + pen.measureText(words).width + 10;
    drawn.push({ kind: "scheduled", row, line: [px, 4, px, 24], about: () => what === "healing" ? `Everything is healed, or a majority of the servers: now the farm must converge\nat ${seconds(at)}` : `Fault of the schedule: ${what}\nat ${seconds(at)} (at_s = ${((at - data.begin) / 1e6).toFixed(3)} in the scenario)` });
  }
  for (const row of lists.faults) {
    const [at, server, what] = row;
    if (at < view.from || at > view.to) continue;
    // Healing resumes every server, paused or not.
    if (what === "resume" && lifeAt(server, at - 1) !== "paused") continue;
    const px = x(at), py = y(server);
    if (what === "crash") cross(px, py, 8, "#c81e3a");
    else { pen.fillStyle = ink({ start: "#099250", resume: "#099250" }[what] || "#f79009"); pen.fillRect(px - 4, py - 4, 8, 8); }
    if (px > ends[server]) {
      text(what, px + 9, py - 6, what === "crash" ? "#c81e3a" : "#b54708");
      ends[server] = px + 9 + pen.measureText(what).width;
    }
    drawn.push({ kind: "fault", row, line: [px - 4, py, px + 4, py], near: 8, about: () => `Server ${server + 1}: ${what}\nat ${seconds(at)}` });
  }
}
function drawMarks() {
  pen.strokeStyle = "#7a5af8";
  pen.beginPath(); pen.moveTo(x(moment), TOP - 12); pen.lineTo(x(moment), height - BOTTOM); pen.stroke();
  if (failedAt === null || failedAt < view.from || failedAt > view.to) return;
  const px = x(failedAt);
  pen.fillStyle = "rgba(200, 30, 58, 0.14)"; pen.fillRect(px - 4, 22, 8, height - BOTTOM - 22);
  pen.strokeStyle = "#c81e3a"; pen.lineWidth = 2;
  pen.beginPath(); pen.moveTo(px, 22); pen.lineTo(px, height - BOTTOM); pen.stroke(); pen.lineWidth = 1;
  const right = px > canvas.clientWidth / 2;
  pen.font = "600 13px system-ui, sans-serif";
  const whole = `${data.broken.guarantee} broken: ${plain(data.broken.sentence)}`;
  const room = (right ? px - LEFT : canvas.clientWidth - px) - 14;
  let words = whole;
  while (words.length > 10 && pen.measureText(words).width > room) words = words.slice(0, -2).replace(/…?$/, "") + "…";
  text(words, px + (right ? -6 : 6), 36, "#c81e3a", right ? "right" : "left");
  drawn.push({ kind: "broken", row: null, line: [px, 22, px, height - BOTTOM], about: () => `${whole}\nat ${seconds(failedAt)}` });
  pen.font = "12px system-ui, sans-serif";
}
function draw() {
  const scale = window.devicePixelRatio || 1;
  height = Math.max(260, 40 * data.servers + TOP + BOTTOM, Math.min(90 * data.servers + TOP + BOTTOM, innerHeight * 0.6));
  canvas.style.height = height + "px";
  canvas.width = canvas.clientWidth * scale; canvas.height = height * scale;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.font = "12px system-ui, sans-serif";
  pen.clearRect(0, 0, canvas.clientWidth, height);
  drawn = [];
  drawAxis();
  pen.save(); pen.beginPath(); pen.rect(LEFT - 4, 0, canvas.clientWidth, height); pen.clip();
  drawLinks(); drawMessages(); pen.restore();
  drawServers();
  pen.save(); pen.beginPath(); pen.rect(LEFT - 4, 0, canvas.clientWidth, height); pen.clip();
  drawFaults(); drawRequests(); drawMarks(); pen.restore();
}

function copies() {
  el("moment").value = seconds(moment);
  el("scrubber").value = Math.round(((moment - data.from) / (last - data.from)) * 100000);
  const all = perServer.map((_, server) => copiesAt(server, moment));
  el("copies").replaceChildren(...all.map((mine, server) => {
    const box = document.createElement("article");
    const life = lifeAt(server, moment);
    box.className = life;
    const part = (tag, style, words) => {
      const node = document.createElement(tag);
      node.className = style; node.textContent = words; box.append(node); return node;
    };
    part("h2", "", `Server ${server + 1}${life === "up" ? "" : ": " + life}`);
    part("p", "applied", "applied: " + appliedAt(server, moment));
    for (const [session, shows] of [...mine].sort((a, b) => a[0] - b[0])) {
      if (chosen >= 0 && session !== chosen) continue;
      const others = all.filter((_, other) => lifeAt(other, moment) !== "down");
      const same = others.every((theirs) => theirs.get(session) === shows);
      const node = part("div", same ? "copy" : "copy differs", "");
      const title = document.createElement("b");
      title.textContent = name(session);
      title.title = data.sessions[session];
      node.dataset.session = session;
      node.append(title, " " + shows);
    }
    if (mine.size === 0) part("div", "copy", "no sessions");
    return box;
  }));
}
function look(from, to) {
  const span = Math.max(50, Math.min(to - from, (last - data.from) * 1.05));
  const margin = span * 0.5;
  view.from = Math.max(data.from - margin, Math.min(from, last + margin - span));
  view.to = view.from + span;
  draw();
}
function zoom(factor, at) {
  look(at - (at - view.from) * factor, at + (view.to - at) * factor);
}
// From what the failure may have come of: the last fault before it, or what was last asked about its
// sessions, if that is no longer ago than twenty seconds; two seconds at least.
function goToCauses() {
  const before = (rows) => rows.filter((row) => row[0] < failedAt).map((row) => row[0]);
  const faults = before(lists.scheduled.filter((row) => row[1] !== "healing")).slice(-2);
  const involved = (row) => row[3].some((session) => said(session));
  const asked = before(lists.asked.filter(involved)).slice(-3);
  const causes = [...faults, ...asked].filter((at) => at > failedAt - 20e6);
  const first = Math.max(data.from, Math.min(failedAt - 2e6, ...causes));
  const span = failedAt - first;
  moment = failedAt;
  look(first - span * 0.05, failedAt + span * 0.08); copies();
}
function goToFailure() {
  const at = failedAt ?? last, span = Math.min(2e6, last - data.from);
  moment = at;
  look(at - span * 0.92, at + span * 0.08); copies();
}
const pan = (part) => look(view.from + (view.to - view.from) * part, view.to + (view.to - view.from) * part);
const middle = () => (view.from + view.to) / 2;
const whole = () => look(data.from - (last - data.from) * 0.02, last + (last - data.from) * 0.02);

function near(px, py) {
  let best = null, least = 6;
  for (const thing of drawn) {
    const [x1, y1, x2, y2] = thing.line;
    const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
    const along = length ? Math.max(0, Math.min(1, ((px - x1) * (x2 - x1) + (py - y1) * (y2 - y1)) / length)) : 0;
    const away = Math.hypot(px - x1 - along * (x2 - x1), py - y1 - along * (y2 - y1)) - (thing.near ? 3 : 0);
    if (away <= least) { least = away; best = thing; }
  }
  return best;
}
let dragged = null;
canvas.addEventListener("pointerdown", (e) => { dragged = { x: e.offsetX, from: view.from, to: view.to, moved: false }; canvas.setPointerCapture(e.pointerId); });
canvas.addEventListener("pointerup", (e) => {
  if (dragged && !dragged.moved) { moment = Math.max(data.from, Math.min(last, time(e.offsetX))); draw(); copies(); }
  dragged = null;
});
canvas.addEventListener("pointermove", (e) => {
  if (dragged) {
    const by = ((dragged.x - e.offsetX) / (canvas.clientWidth - LEFT)) * (dragged.to - dragged.from);
    if (Math.abs(dragged.x - e.offsetX) > 3) dragged.moved = true;
    if (dragged.moved) look(dragged.from + by, dragged.to + by);
    return;
  }
  const thing = near(e.offsetX, e.offsetY), hint = el("hint");
  hint.hidden = !thing;
  if (thing) {
    hint.textContent = thing.about();
    hint.style.left = Math.min(e.clientX + 14, innerWidth - 540) + "px";
    hint.style.top = Math.min(e.clientY + 14, innerHeight - hint.offsetHeight - 8) + "px";
  }
  if (hovered !== (thing?.row ?? null)) { hovered = thing?.row ?? null; draw(); }
});
canvas.addEventListener("pointerleave", () => { el("hint").hidden = true; });
canvas.addEventListener("wheel", (e) => { e.preventDefault(); if (e.shiftKey) pan(e.deltaY / 1000); else zoom(e.deltaY > 0 ? 1.25 : 0.8, time(e.offsetX)); }, { passive: false });
const calls = { causes: goToCauses, failure: goToFailure, all: whole, in: () => zoom(0.6, middle()), out: () => zoom(1.6, middle()), back: () => pan(-0.5), on: () => pan(0.5) };
for (const [id, call] of Object.entries(calls)) el(id).addEventListener("click", call);
addEventListener("keydown", (e) => {
  if (["INPUT", "SELECT"].includes(e.target.tagName)) return;
  ({ c: failedAt === null ? null : goToCauses, f: goToFailure, a: whole, "+": calls.in, "-": calls.out, ArrowLeft: calls.back, ArrowRight: calls.on })[e.key]?.();
});
el("scrubber").addEventListener("input", (e) => {
  moment = data.from + (e.target.value / 100000) * (last - data.from);
  if (moment < view.from || moment > view.to) { const half = (view.to - view.from) / 2; look(moment - half, moment + half); } else draw();
  copies();
});
addEventListener("resize", draw);
night.addEventListener("change", draw);

el("title").textContent = `Grapevine, seed ${data.seed}: ${data.servers} servers, ${(last / 1e6).toFixed(1)} simulated seconds, ${data.events} events` + (data.from > 0 ? ` (the first ${(data.from / 1e6).toFixed(1)} s are left out)` : "");
if (data.broken) {
  el("verdict").className = "bad";
  const b = document.createElement("b");
  b.textContent = `${data.broken.guarantee} broken at ${data.broken.at_s.toFixed(6)} s: `;
  el("verdict").append(b, plain(data.broken.sentence));
  el("verdict").title = data.broken.sentence;
} else el("verdict").textContent = "All guarantees held.";
const said = (n) => data.broken?.sentence.includes(data.sessions[n]);
for (const [command, colour] of Object.entries(COLOURS)) {
  const label = document.createElement("label"), box = document.createElement("input"), line = document.createElement("i");
  box.type = "checkbox"; box.checked = true; line.style.background = ink(colour);
  box.addEventListener("change", () => { if (box.checked) shown.add(command); else shown.delete(command); draw(); });
  label.append(box, line, command); el("commands").append(label);
}
el("session").append(new Option("all", -1), ...data.sessions.map((full, n) => new Option(`${name(n)}${said(n) ? " (broken)" : ""}  ${full}`, n)));
el("session").addEventListener("change", (e) => { chosen = Number(e.target.value); draw(); copies(); });
el("scenario").textContent = data.scenario;
if (data.broken) goToCauses();
else { el("failure").disabled = el("causes").disabled = true; whole(); copies(); }
document.body.dataset.drawn = String(drawn.length);
if (location.hash === "#self-test") selfTest();
