// Uses the page as a reader does, by its controls, and writes down what is drawn then; a test compares
// that with the data. Runs only when the address ends with `#self-test`.
function selfTest() {
  const done = { opens: [view.from, view.to] };
  const counted = (kind) => {
    const counts = {};
    for (const thing of drawn.filter((thing) => thing.kind === kind)) {
      const command = thing.row[kind === "arrow" ? 4 : 3];
      counts[command] = (counts[command] || 0) + 1;
    }
    return counts;
  };
  const set = (node, key, value, event) => { node[key] = value; node.dispatchEvent(new Event(event)); };
  const all = () => { el("all").click(); return { arrows: counted("arrow"), lost: counted("lost") }; };
  done.all = all();
  const heartbeats = [...el("commands").querySelectorAll("label")].find((label) => label.textContent === "Heartbeat").firstChild;
  set(heartbeats, "checked", false, "change");
  done.withoutHeartbeats = all();
  set(heartbeats, "checked", true, "change");
  set(el("session"), "value", "1", "change");
  done.onlySession1 = all();
  done.listed = [...el("copies").querySelectorAll("[data-session]")].map((node) => Number(node.dataset.session));
  set(el("session"), "value", "-1", "change");
  done.again = all();
  done.moments = [25000, 60000].map((value) => {
    set(el("scrubber"), "value", value, "input");
    const servers = [...el("copies").querySelectorAll("article")];
    const shows = (node) => [Number(node.dataset.session), node.textContent];
    return { at: moment, servers: servers.map((box) => [...box.querySelectorAll("[data-session]")].map(shows)) };
  });
  el("all").click();
  for (const kind of ["scheduled", "fault", "asked", "answered"])
    done[kind] = drawn.filter((thing) => thing.kind === kind).map((thing) => [thing.row, thing.about()]);
  done.whole = [view.from, view.to];
  done.links = drawn.filter((thing) => thing.kind === "links").map((thing) => thing.about());
  el("failure").click();
  done.broken = drawn.filter((thing) => thing.kind === "broken").map((thing) => thing.about());
  el("all").click();
  const thing = drawn.find((thing) => thing.kind === "arrow" && thing.row[5].length > 0);
  look(thing.row[0] - 5000, thing.row[1] + 5000);
  const there = drawn.find((other) => other.row === thing.row), box = canvas.getBoundingClientRect();
  const [x1, y1, x2, y2] = there.line;
  canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + (x1 + x2) / 2, clientY: box.top + (y1 + y2) / 2 }));
  done.hover = { row: hovered, hidden: el("hint").hidden, says: el("hint").textContent };
  done.scale = [view.to - view.from];
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -1, cancelable: true }));
  done.scale.push(view.to - view.from);
  el("out").click();
  done.scale.push(view.to - view.from);
  places(done);
  pointers(done);
  done.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  const node = document.createElement("script");
  node.type = "application/json"; node.id = "tested";
  node.textContent = JSON.stringify(done).replaceAll("<", "\\u003c");
  document.body.append(node);
}
// Where each button goes to from one place, and its key; and that who writes into a field goes nowhere.
function places(done) {
  const keys = { causes: "c", failure: "f", all: "a", in: "+", out: "-", back: "ArrowLeft", on: "ArrowRight" };
  const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const after = (use) => {
    moment = 11e6;
    look(10e6, 12e6);
    use();
    return [view.from, view.to, moment];
  };
  done.buttons = {}; done.keys = {}; done.typed = {};
  done.unused = [...document.querySelectorAll("button")].map((button) => button.id).filter((id) => !(id in keys));
  for (const [id, key] of Object.entries(keys)) {
    done.buttons[id] = after(() => el(id).click());
    done.keys[id] = after(() => press(document.body, key));
    done.typed[id] = after(() => press(el("scrubber"), key));
  }
}
// What the pointer does on the picture: it drags, it chooses a moment, and it leaves; and the wheel with Shift.
function pointers(done) {
  // No pointer of a test can be held.
  canvas.setPointerCapture = () => {};
  const point = (type, px) => {
    const box = canvas.getBoundingClientRect();
    canvas.dispatchEvent(new PointerEvent(type, { clientX: box.left + px, clientY: box.top + 8 }));
  };
  const here = () => [view.from, view.to, moment];
  moment = 11e6;
  look(10e6, 12e6);
  point("pointerdown", 500);
  for (const px of [550, 600]) point("pointermove", px);
  point("pointerup", 600);
  done.dragged = { by: 100 / (canvas.clientWidth - LEFT), to: here() };
  point("pointermove", 700);
  done.released = here();
  look(10e6, 12e6);
  const at = time(400);
  point("pointerdown", 400);
  point("pointerup", 400);
  const shows = (node) => [Number(node.dataset.session), node.textContent];
  const servers = [...el("copies").querySelectorAll("article")];
  done.clicked = {
    at, to: here(), says: el("moment").value, scrubber: Number(el("scrubber").value),
    servers: servers.map((box) => [...box.querySelectorAll("[data-session]")].map(shows)),
  };
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 250, shiftKey: true, cancelable: true }));
  done.panned = here();
  el("hint").hidden = false;
  canvas.dispatchEvent(new PointerEvent("pointerleave"));
  done.left = el("hint").hidden;
}
