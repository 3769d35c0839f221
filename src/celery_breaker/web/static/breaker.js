// Keeps a page up to date: counts times on, and puts in what the server sends. Without it, reloading does the same.
"use strict";

(() => {
  const body = document.body;
  const byId = (id) => document.getElementById(id);
  let ahead = Number(body.dataset.now) - Date.now() / 1000; // how far the store's clock is before ours

  // --- times -------------------------------------------------------------------------------------------------------

  const sizes = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  function human(seconds) {
    const whole = Math.round(seconds);
    if (whole < 1) return "a moment";
    const place = sizes.findIndex(([size]) => whole >= size);
    const [size, unit] = sizes[place];
    const text = `${Math.floor(whole / size)} ${unit}`;
    if (place + 1 === sizes.length) return text;
    const rest = Math.floor((whole % size) / sizes[place + 1][0]);
    return rest ? `${text} ${rest} ${sizes[place + 1][1]}` : text;
  }

  function put(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function tick() {
    const now = Date.now() / 1000 + ahead;
    for (const element of document.querySelectorAll("[data-since]")) put(element, human(now - element.dataset.since));
    for (const element of document.querySelectorAll("[data-until]")) put(element, human(element.dataset.until - now));
  }

  const clock = new Intl.DateTimeFormat(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });

  function localise(root) {
    for (const element of root.querySelectorAll("[data-clock]")) {
      element.title = element.getAttribute("datetime");
      put(element, clock.format(new Date(element.dataset.clock * 1000)));
    }
  }

  // --- what the server sends ---------------------------------------------------------------------------------------

  // A replaced part must not take the focus with it, nor close what was opened.
  function keeping(region, replace) {
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    const link = focused && focused.getAttribute("href");
    const box = focused && focused.closest("details");
    const open = [...region.querySelectorAll("details[open][id]")].map((element) => element.id);
    replace();
    for (const id of open) if (byId(id)) byId(id).open = true;
    const again = link ? [...region.querySelectorAll("a")].find((a) => a.getAttribute("href") === link)
      : box && byId(box.id) ? byId(box.id).querySelector("summary") : null;
    if (again) again.focus({ preventScroll: true });
  }

  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    localise(template.content);
    return template.content;
  }

  function showParts(parts) {
    for (const [id, html] of Object.entries(parts)) {
      const region = byId(id);
      if (region) keeping(region, () => region.replaceChildren(parsed(html)));
    }
  }

  function showRows(rows, order) {
    const table = byId("rows");
    if (!table) return;
    keeping(table, () => {
      const known = new Map([...table.children].map((row) => [row.dataset.name, row]));
      for (const [name, html] of Object.entries(rows)) {
        const row = parsed(html).querySelector("tr");
        const before = known.get(name);
        if (before && before.className.split(" new")[0] !== row.className) row.classList.add("new");
        if (before) before.replaceWith(row);
        known.set(name, row);
      }
      if (!order) return;
      const wanted = order.map((name) => known.get(name)).filter(Boolean);
      if (wanted.some((row, place) => table.children[place] !== row) || wanted.length !== table.children.length) {
        table.replaceChildren(...wanted);
      }
    });
  }

  let waiting = "";
  let spoken = 0;

  // Changes are spoken together, and not more often than each four seconds.
  function say(text) {
    waiting = waiting ? `${waiting}, ${text}` : text;
    const pause = Math.max(0, spoken + 4000 - Date.now());
    setTimeout(() => {
      if (!waiting) return;
      byId("say").textContent = waiting;
      waiting = "";
      spoken = Date.now();
    }, pause);
  }

  function show(data) {
    ahead = data.now - Date.now() / 1000;
    if (data.title) document.title = data.title;
    if (data.parts) showParts(data.parts);
    if (data.rows || data.order) showRows(data.rows || {}, data.order);
    if (data.say) say(data.say);
    tick();
  }

  // --- the connection ----------------------------------------------------------------------------------------------

  const pulse = byId("pulse");
  let source = null;

  function pulsing(on, text) {
    pulse.className = on ? "pulse on" : "pulse off";
    put(pulse, text);
  }

  function listen() {
    if (source) source.close();
    source = null;
    if (!body.dataset.live || document.hidden) return; // browsers allow few connections, so a hidden tab has none
    const mine = source = new EventSource(body.dataset.live);
    mine.onopen = () => pulsing(true, "live");
    mine.onerror = () => {
      pulsing(false, "not live; trying again");
      if (mine.readyState === EventSource.CLOSED) setTimeout(() => { if (source === mine) listen(); }, 5000);
    };
    mine.addEventListener("page", (message) => show(JSON.parse(message.data)));
  }

  // --- the filter --------------------------------------------------------------------------------------------------

  function filtered(form) {
    const query = new URLSearchParams(new FormData(form));
    for (const [key, value] of [...query]) if (!value) query.delete(key);
    const text = query.toString();
    history.replaceState(null, "", text ? `./?${text}` : "./");
    body.dataset.live = text ? `live?${text}` : "live";
    listen();
  }

  const form = document.querySelector("form[data-filter]");
  if (form) {
    let soon = 0;
    const later = () => { clearTimeout(soon); soon = setTimeout(() => filtered(form), 250); };
    form.addEventListener("input", later);
    form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(soon); filtered(form); });
  }

  localise(document);
  const wrong = document.querySelector("[data-focus]");
  if (wrong) wrong.focus();
  setInterval(tick, 1000);
  if (pulse) {
    document.addEventListener("visibilitychange", listen);
    listen();
  }
})();
