// Easel: forms, galleries and charts inside gr.HTML.  The server holds the truth; here is only what a hand needs at once.
(() => {
  const easel = (window.easel = window.easel || {});
  const fetched = new Set(); // links that download by themselves, once
  const opened = new Map(); // data-key of a <details> -> open, so that a new version of the page keeps it

  // An element with data-act becomes the event `act`, an input with data-path the event `edit`.
  easel.bind = (element, trigger, watch) => {
    let filter = "";
    const sent = new Map(); // what was typed and the server has not shown yet: an older answer must not undo it
    const act = (source) => {
      if (source.disabled || source.getAttribute("aria-disabled") === "true") return;
      const data = { ...source.dataset };
      const field = data.with && element.querySelector(data.with);
      if (field) {
        data.value = field.value;
        if (!("keep" in field.dataset)) field.value = "";
      }
      if ("collect" in data) data.fields = unsent(source.parentElement.closest("[id^=ez-]:not([id^=ez-tab])") || document);
      sent.clear();
      source.closest("details.ez-menu")?.removeAttribute("open");
      trigger("act", data);
    };
    element.addEventListener("click", (event) => {
      const source = event.target.closest("[data-act]");
      if (source) act(source);
    });
    element.addEventListener("keydown", (event) => {
      const field = event.target;
      if (event.key === "Enter" && field.dataset?.enter) {
        event.preventDefault();
        const button = element.querySelector(`button[data-act="${field.dataset.enter}"]`);
        if (button) act(button);
      }
      const group = field.closest?.('[role="radiogroup"]');
      if (group && /^Arrow/.test(event.key)) {
        event.preventDefault();
        const all = [...group.querySelectorAll('[role="radio"]:not([aria-disabled="true"])')];
        const ahead = event.key === "ArrowRight" || event.key === "ArrowDown" ? 1 : -1;
        const next = all[(all.indexOf(field) + ahead + all.length) % all.length];
        next?.focus();
        next?.click();
      }
    });
    element.addEventListener("change", (event) => {
      const field = event.target;
      if (!field.dataset?.path) return;
      sent.set(field.dataset.path, { value: typed(field), until: Date.now() + 10000 });
      trigger("edit", { field: field.dataset.path, value: typed(field) }); // Gradio takes a key named path for a file
    });
    // rows of a table are one setting: a line each, as a job file's form has it
    const rows = (table) => {
      const lines = [...table.querySelectorAll("tbody tr")].map((row) => {
        const cells = [...row.querySelectorAll("[data-cell]")];
        if (!cells[0].value.trim()) return "";
        const told = cells.map((cell) => (cell.type === "checkbox" ? (cell.checked ? "yes" : "no") : cell.value.trim() || cell.dataset.usual));
        while (told.length > 1 && told.at(-1) === cells[told.length - 1].dataset.usual) told.pop();
        return told.join(" | ");
      });
      const box = table.querySelector("[data-path]");
      box.value = lines.filter(Boolean).join("\n");
      box.dispatchEvent(new Event("change", { bubbles: true }));
    };
    element.addEventListener("change", (event) => event.target.matches("[data-cell]") && rows(event.target.closest(".ez-rows")));
    element.addEventListener("click", (event) => {
      const out = event.target.closest("[data-row-out]");
      if (!out) return;
      const table = out.closest(".ez-rows");
      out.closest("tr").remove();
      rows(table);
    });
    element.addEventListener("input", (event) => {
      if (!event.target.matches("[data-filter]")) return;
      filter = event.target.value.trim().toLowerCase();
      narrow(element, filter);
    });
    element.addEventListener(
      "toggle",
      (event) => {
        const key = event.target.dataset?.key;
        if (key && !filter) opened.set(key, event.target.open);
        if (event.target.open) toEnd(event.target);
      },
      true,
    );
    const sync = () => {
      for (const part of element.querySelectorAll("details[data-key]")) {
        if ("force" in part.dataset) opened.set(part.dataset.key, true);
        part.open = opened.get(part.dataset.key) ?? "open" in part.dataset;
        if (part.open) toEnd(part);
      }
      for (const field of element.querySelectorAll("[data-path]")) show(field, sent);
      for (const range of element.querySelectorAll(".ez-pair-range")) slide(range);
      for (const link of element.querySelectorAll("a[data-once]")) {
        if (fetched.has(link.dataset.once)) continue;
        fetched.add(link.dataset.once);
        link.click();
      }
      easel.freshen?.(element);
      if (filter) narrow(element, filter);
    };
    element.addEventListener("ez-act", (event) => trigger("act", event.detail)); // of a field that is sent as one types, or of a dialog
    watch("value", sync);
    sync();
  };

  // What was typed and not sent yet: a click on a button comes before the server's answer to the field that was just left.
  const unsent = (place) => {
    const fields = {};
    for (const field of place.querySelectorAll("[data-path]")) {
      if (typed(field) !== (field.dataset.value ?? "")) fields[field.dataset.path] = typed(field);
    }
    return fields;
  };

  const typed = (field) => (field.type === "checkbox" ? (field.checked ? "on" : "off") : field.value);

  // The page's inputs follow the server, except the one that somebody is typing in.
  const show = (field, sent) => {
    if (field.dataset.value === undefined || field === document.activeElement) return;
    const mine = sent.get(field.dataset.path);
    if (mine && mine.value !== field.dataset.value && Date.now() < mine.until) return;
    sent.delete(field.dataset.path);
    if (field.type === "checkbox") field.checked = field.dataset.value === "on";
    else if (field.value !== field.dataset.value) field.value = field.dataset.value;
  };

  const narrow = (element, filter) => {
    const words = filter.split(/\s+/).filter(Boolean);
    let any = false;
    for (const group of element.querySelectorAll(".ez-group")) {
      let found = false;
      for (const row of group.querySelectorAll(".ez-set")) {
        const match = words.every((word) => row.dataset.find.includes(word));
        row.hidden = !match;
        found ||= match;
      }
      group.hidden = !found;
      group.open = words.length ? found : (opened.get(group.dataset.key) ?? false);
      any ||= found;
    }
    const none = element.querySelector(".ez-none");
    if (none) none.hidden = any;
  };

  const toEnd = (part) => {
    const log = part.querySelector("pre[data-end]");
    if (log && (!log.dataset.seen || log.scrollHeight - log.scrollTop - log.clientHeight < 120)) log.scrollTop = log.scrollHeight;
    if (log) log.dataset.seen = "1";
  };

  // before / after
  const slide = (range) => range.closest(".ez-pair-view").style.setProperty("--at", `${range.value}%`);
  document.addEventListener("input", (event) => event.target.matches?.(".ez-pair-range") && slide(event.target));

  // a slider says its value while it is moved; a picture of the Playground opens large among its neighbours
  document.addEventListener("input", (event) => {
    const range = event.target;
    if (range.matches?.(".ez-range")) range.closest(".ez-field").querySelector("output").textContent = range.value;
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".ez-play-row [data-zoom]");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    easel.zoom(link.closest(".ez-play-row"), link);
  });

  // the grid of samples: arrows move, Enter and click open
  const shotAt = (grid, row, col) => grid.querySelector(`.ez-shot[data-row="${row}"][data-col="${col}"]`);
  const beside = (grid, shot, dx, dy) => {
    let row = +shot.dataset.row + dy;
    let col = +shot.dataset.col + dx;
    for (let tries = 0; tries < 500; tries++) {
      const next = shotAt(grid, row, col);
      if (next) return next;
      if (!dx || !grid.querySelector(dx > 0 ? `.ez-shot[data-row="${row}"][data-col]` : `.ez-shot[data-row="${row}"]`)) return null;
      const cols = [...grid.querySelectorAll(`.ez-shot[data-row="${row}"]`)].map((s) => +s.dataset.col);
      if (col < Math.min(...cols) || col > Math.max(...cols)) return null;
      col += dx;
    }
    return null;
  };
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    const shot = event.target.closest?.(".ez-shot");
    if (!shot || !STEPS[event.key]) return;
    event.preventDefault();
    const next = beside(shot.closest(".ez-shots"), shot, ...STEPS[event.key]);
    if (!next) return;
    shot.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  document.addEventListener("click", (event) => {
    const shot = event.target.closest?.(".ez-shot");
    if (shot) box().open(shot);
  });

  let theBox = null;
  const box = () => (theBox ||= makeBox());
  const makeBox = () => {
    const dialog = document.createElement("dialog");
    dialog.className = "ez-box";
    dialog.setAttribute("aria-label", tr("Sample picture"));
    const said = { over: tr("Compare with the first picture"), compare: tr("Compare with the start"), prev: tr("Step before"), next: tr("Step after"), full: tr("Full screen"), close: tr("Close") };
    for (const [name, text] of Object.entries(said)) said[name] = easel.escaped(text);
    dialog.innerHTML = `
      <div class="ez-box-view ez-pair-view"><img class="ez-box-now" alt=""><video class="ez-box-film" controls autoplay loop muted playsinline hidden></video><img class="ez-pair-over" alt=""><i class="ez-pair-edge"></i>
        <span class="ez-pair-a"></span><span class="ez-pair-b"></span>
        <input type="range" class="ez-pair-range" min="0" max="100" value="50" aria-label="${said.over}"></div>
      <div class="ez-box-bar"><div class="ez-box-text"><b></b><span></span></div><div class="ez-acts">
        <a class="ez-btn ez-box-file" download></a>
        <a class="ez-btn ez-box-video" download>MP4</a>
        <button type="button" class="ez-btn" data-do="compare" aria-pressed="false">${said.compare}</button>
        <button type="button" class="ez-btn" data-do="prev" aria-label="${said.prev}">←</button>
        <button type="button" class="ez-btn" data-do="next" aria-label="${said.next}">→</button>
        <button type="button" class="ez-btn" data-do="full" aria-label="${said.full}"><svg class="ez-icon" viewBox="0 0 24 24" width="18" height="18" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"/></svg></button>
        <button type="button" class="ez-btn" data-do="close">${said.close}</button></div></div>`;
    document.body.append(dialog);
    const find = (selector) => dialog.querySelector(selector);
    // What is shown is known by its names: a new version of the page makes another picture of the same button.
    let grid, at;
    const here = () => {
      const { run, shot } = dialog.dataset;
      const all = [...document.querySelectorAll(".ez-shot")].filter((one) => one.dataset.run === run && one.dataset.shot === shot);
      const found = all.find((one) => grid.contains(one)) || all[0];
      if (found) show(found);
      return found;
    };
    const show = (shot) => {
      grid = shot.closest(".ez-shots");
      at = { row: shot.dataset.row, col: shot.dataset.col };
      dialog.dataset.run = shot.dataset.run;
      dialog.dataset.shot = shot.dataset.shot;
    };
    const rate = easel.rating?.(dialog, here);
    let comparing = false;
    find(".ez-box-now").addEventListener("load", (event) => dialog.style.setProperty("--ratio", event.target.naturalWidth / event.target.naturalHeight));
    const paint = () => {
      rate?.();
      const shot = here();
      if (!shot) return; // it left the grid while it was looked at
      const first = [...grid.querySelectorAll(`.ez-shot[data-row="${shot.dataset.row}"]`)][0];
      const pair = comparing && first !== shot;
      dialog.classList.toggle("is-pair", pair);
      find(".ez-box-now").src = shot.querySelector("img").src;
      const [film, plays] = [find(".ez-box-film"), shot.dataset.video && !pair]; // two that are compared are shown as animations
      [film.hidden, find(".ez-box-now").hidden] = [!plays, !!plays];
      if (!plays) film.removeAttribute("src");
      else if (film.getAttribute("src") !== shot.dataset.video) [film.poster, film.src] = [shot.querySelector("img").src, shot.dataset.video];
      find(".ez-pair-over").src = first.querySelector("img").src;
      find(".ez-pair-a").textContent = +first.dataset.step ? tr("step {step}", { step: +first.dataset.step }) : tr("start");
      find(".ez-pair-b").textContent = tr("step {step}", { step: +shot.dataset.step });
      find("b").textContent = shot.dataset.prompt;
      find(".ez-box-video").hidden = !shot.dataset.video;
      find(".ez-box-video").href = shot.dataset.video || "#";
      const { step, seed, file, gone } = shot.dataset;
      find(".ez-box-text span").textContent = [+step ? tr("Step {step}", { step: +step }) : tr("Before the first step"), tr("seed {seed}", { seed }), grid.dataset.strip, gone].filter(Boolean).join(" · ");
      find(".ez-box-file").hidden = !file;
      find(".ez-box-file").href = file || "#";
      find(".ez-box-file").textContent = tr("Download step {step}", { step: +step });
      // the picture that is looked at chooses the checkpoint it was drawn with
      for (const row of document.querySelectorAll("tr[data-checkpoint]")) row.classList.toggle("is-chosen", row.dataset.checkpoint === step);
      find('[data-do="compare"]').setAttribute("aria-pressed", pair);
      find('[data-do="compare"]').disabled = first === shot; // it is the start
      find('[data-do="prev"]').disabled = !beside(grid, shot, -1, 0);
      find('[data-do="next"]').disabled = !beside(grid, shot, 1, 0);
      slide(find(".ez-pair-range"));
    };
    const move = (dx, dy) => {
      const from = here() || { dataset: at };
      const next = (dx > 0 && from.dataset === at && shotAt(grid, at.row, at.col)) || beside(grid, from, dx, dy); // of one that left, the next one has its place
      if (next) show(next);
      paint();
    };
    dialog.addEventListener("keydown", (event) => {
      if (!STEPS[event.key] || event.target.matches("input[type=range]")) return;
      event.preventDefault();
      move(...STEPS[event.key]);
    });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) return dialog.close();
      const what = event.target.closest("[data-do]")?.dataset.do;
      if (what === "close") dialog.close();
      if (what === "prev") move(-1, 0);
      if (what === "next") move(1, 0);
      if (what === "compare") {
        comparing = !comparing;
        paint();
      }
      if (what === "full") document.fullscreenElement ? document.exitFullscreen() : dialog.requestFullscreen?.();
    });
    dialog.addEventListener("close", () => {
      find(".ez-box-film").removeAttribute("src"); // it plays for nobody
      if (document.fullscreenElement) document.exitFullscreen();
      here()?.focus();
    });
    return {
      open(ofShot) {
        show(ofShot);
        paint();
        dialog.showModal();
        find('[data-do="close"]').focus();
      },
    };
  };

  // the chart: the point under the pointer
  const told = (chart) => chart.querySelector(".ez-readout");
  document.addEventListener("pointermove", (event) => {
    const plot = event.target.closest?.(".ez-plot");
    const chart = plot?.closest(".ez-chart[data-points]");
    for (const other of document.querySelectorAll(".ez-chart[data-hover]")) if (other !== chart) leave(other);
    if (!chart) return;
    const area = plot.getBoundingClientRect();
    const step = ((event.clientX - area.left) / area.width) * +chart.dataset.last;
    const points = JSON.parse(chart.dataset.points);
    const near = points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
    const checks = JSON.parse(chart.dataset.checks);
    const check = checks.length ? checks.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a)) : null;
    if (chart.dataset.hover === undefined) chart.dataset.said = told(chart).textContent;
    chart.dataset.hover = "";
    const parts = [tr("step {step}", { step: near[0] }), tr("loss {value}", { value: easel.number(near[1]) }), tr("smoothed {value}", { value: easel.number(near[2]) })];
    if (check) parts.push(tr("validation {value}", { value: easel.number(check[1]) }));
    told(chart).textContent = [...parts, tr("rate {value}", { value: easel.number(near[3]) })].join(" · ");
    for (const line of chart.querySelectorAll(".ez-cursor")) {
      line.hidden = false;
      line.style.left = `${(near[0] / +chart.dataset.last) * 100}%`;
    }
  });
  const leave = (chart) => {
    if (chart.dataset.said) told(chart).textContent = chart.dataset.said;
    delete chart.dataset.hover;
    for (const line of chart.querySelectorAll(".ez-cursor")) line.hidden = true;
  };

  // another tab begins at its top
  document.addEventListener("click", (event) => event.target.closest?.("#ez-tabs > .tab-wrapper [role=tab]") && window.scrollTo({ top: 0 }));

  // a menu closes when the page is clicked elsewhere, or with Escape
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.ez-menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.ez-menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
})();
