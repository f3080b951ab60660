/* Keeps the page live. The socket itself is htmx's (its ws extension); here are the
   data frames (numbers put into cells by their ids), and what must not be overwritten. */
(() => {
  "use strict";

  const STALE_S = 3; // a frame comes every second
  const TOAST_MS = 30000;
  const byId = (id) => document.getElementById(id);
  const pulse = byId("pulse");
  let socket = null;
  let frame = null; // {age: seconds when it was sent, received: ms}
  let behind = false; // a row was left alone because somebody was typing in it

  document.documentElement.classList.remove("no-script");

  function say(state) {
    if (!pulse || pulse.dataset.state === state) return;
    pulse.dataset.state = state;
    byId("pulse-word").textContent = state;
  }

  function rows() {
    const have = {};
    document.querySelectorAll("[data-sign]").forEach((row) => { have[row.id] = row.dataset.sign; });
    return have;
  }

  function sync() {
    behind = false;
    if (socket && !document.hidden) socket.send(JSON.stringify({ have: rows() }));
  }

  function busy(row) {
    return row.contains(document.activeElement) || row.querySelector(".dirty, details[open]") !== null;
  }

  function apply(data) {
    frame = { age: data.at ? Math.max(0, data.now - data.at) : null, received: performance.now() };
    for (const [id, text] of Object.entries(data.text)) {
      const cell = byId(id);
      if (cell && cell.textContent !== text) cell.textContent = text;
    }
    for (const [id, attributes] of Object.entries(data.attrs)) {
      const cell = byId(id);
      if (cell) for (const [name, value] of Object.entries(attributes)) cell.setAttribute(name, value);
    }
    for (const id of data.gone) {
      const row = byId(id);
      if (row && busy(row)) behind = true;
      else if (row) row.remove();
    }
    tick();
  }

  function tick() {
    if (!frame || !pulse) return;
    const age = frame.age === null ? null : frame.age + (performance.now() - frame.received) / 1000;
    const late = age === null ? (performance.now() - frame.received) / 1000 > STALE_S : age > STALE_S;
    document.body.classList.toggle("stale", late);
    byId("pulse-age").textContent = age === null ? "· no gateway publishes" : `· data ${age.toFixed(1)} s old`;
    if (socket) say(late ? "stale" : "live");
  }

  function sweep() {
    document.querySelectorAll(".toast").forEach((toast) => {
      if (!toast.dataset.born) toast.dataset.born = String(performance.now());
      const old = performance.now() - Number(toast.dataset.born) > TOAST_MS;
      if (old && !toast.matches(":hover, :focus-within")) toast.remove();
    });
  }

  function copy(button) {
    const source = document.querySelector(button.dataset.copy);
    const done = () => { button.textContent = "Copied"; };
    const select = () => { getSelection().selectAllChildren(source); };
    if (!navigator.clipboard) select();
    else navigator.clipboard.writeText(source.textContent.trim()).then(done, select);
  }

  document.addEventListener("htmx:wsOpen", (event) => {
    socket = event.detail.socketWrapper;
    sync();
  });
  document.addEventListener("htmx:wsClose", (event) => {
    socket = null;
    say(event.detail.event.code === 4401 ? "signed out" : "reconnecting");
  });
  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    if (event.detail.message[0] !== "{") return; // rows as HTML: htmx swaps them
    event.preventDefault();
    apply(JSON.parse(event.detail.message));
  });
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    const row = fragment.firstElementChild;
    const shown = row && row.matches("tr") && byId(row.id);
    if (shown && busy(shown)) {
      event.detail.shouldSwap = false;
      behind = true;
    } else if (shown && shown !== target) shown.remove(); // it came twice: it was on its way at a sync
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    // The answer to an edit put numbers here that the feed does not know of.
    if (event.detail.requestConfig && event.detail.requestConfig.verb === "post") sync();
  });
  document.addEventListener("submit", (event) => {
    // The feed makes a row once for all who look, so its forms come without anybody's CSRF token.
    const form = event.target;
    if (form.method !== "post" || form.elements.csrfmiddlewaretoken) return;
    const token = document.createElement("input");
    Object.assign(token, { type: "hidden", name: "csrfmiddlewaretoken" });
    token.value = JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"];
    form.append(token);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) sync();
    else if (socket) socket.send(JSON.stringify({ pause: true }));
  });
  document.addEventListener("input", (event) => {
    const form = event.target.closest(".stepper");
    if (form) form.classList.toggle("dirty", event.target.value !== event.target.defaultValue);
  });
  document.addEventListener("keydown", (event) => {
    const form = event.target.closest && event.target.closest(".stepper.dirty");
    if (form && event.key === "Escape") {
      form.reset();
      form.classList.remove("dirty");
    }
  });
  document.addEventListener("focusout", () => { if (behind) setTimeout(sync, 50); });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    if (event.target.closest("[data-dismiss]")) event.target.closest(".toast").remove();
  });

  setInterval(() => { tick(); sweep(); }, 500);
})();
