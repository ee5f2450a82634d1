// Easel's Results: fields that are sent as one types or leaves them, stars on pictures, and a plot that the arrow keys read.
(() => {
  const easel = (window.easel = window.easel || {});
  const send = (element, detail) => element.dispatchEvent(new CustomEvent("ez-act", { bubbles: true, detail }));

  // Fields follow the server once it says something new; what is typed and not sent stays.
  const had = new WeakMap();
  easel.freshen = (element) => {
    for (const field of element.querySelectorAll("[data-fresh]")) {
      const fresh = field.dataset.fresh;
      if (had.get(field) === fresh && field.tagName !== "SELECT") continue;
      if (field === document.activeElement && had.has(field) && field.tagName !== "SELECT") continue;
      had.set(field, fresh);
      if (field.value !== fresh) field.value = fresh;
    }
  };

  // as one types: a quarter of a second after the last key; a list writes its term into the line
  let due = 0;
  const find = (field) => {
    clearTimeout(due);
    due = setTimeout(() => {
      had.set(field, field.value);
      send(field, { act: "find", value: field.value });
    }, 250);
  };
  document.addEventListener("input", (event) => event.target.matches?.("[data-types]") && find(event.target));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !event.target.matches?.("[data-types]") || !event.target.value) return;
    event.preventDefault();
    event.target.value = "";
    find(event.target);
  });
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (field.matches?.("[data-term]")) {
      const { term } = field.dataset;
      const line = document.getElementById("ez-find-runs");
      const rest = line.value.replace(new RegExp(`(^|\\s)${term}:("[^"]*"?|\\S*)`, "gi"), " ").replace(/\s+/g, " ").trim();
      const value = /\s/.test(field.value) ? `"${field.value}"` : field.value;
      line.value = `${rest}${field.value ? ` ${term}:${value}` : ""}`.trim();
      find(line);
    }
    if (field.matches?.("[data-sends]")) {
      had.set(field, field.value);
      send(field, { ...field.dataset, act: field.dataset.sends, value: field.value });
    }
  });

  // stars: keys 1 to 5, 0 and S, on a picture of the grid and in the large view
  const STARS = 5;
  const say = (shot, what, value) => {
    if (what === "rate") shot.dataset.stars = value;
    else shot.dataset.star = value;
    const { run, shot: file } = shot.dataset;
    send(shot, { act: what, run, shot: file, value });
  };
  const byKey = (event, shot) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shot.dataset.run) return false;
    if (/^[0-5]$/.test(event.key)) say(shot, "rate", event.key === shot.dataset.stars ? "0" : event.key);
    else if (event.key.toLowerCase() === "s") say(shot, "star", shot.dataset.star === "on" ? "off" : "on");
    else return false;
    event.preventDefault();
    return true;
  };
  document.addEventListener("keydown", (event) => {
    const shot = event.target.closest?.(".ez-shot");
    if (shot) byKey(event, shot);
  });
  easel.rating = (dialog, now) => {
    const row = document.createElement("div");
    row.className = "ez-rate";
    const [star, starred] = [tr("☆ Star"), tr("★ Starred")];
    const [rating, keys] = [tr("Rating"), tr("Keys: 1–5, 0, S")].map(easel.escaped);
    const many = (n) => easel.escaped(tr("{n} of {most}", { n, most: STARS }));
    row.innerHTML =
      `<button type="button" class="ez-btn ez-rate-star" aria-pressed="false">${easel.escaped(star)}</button><span role="radiogroup" aria-label="${rating}">` +
      Array.from({ length: STARS }, (_, n) => `<button type="button" role="radio" aria-checked="false" aria-label="${many(n + 1)}" data-rate="${n + 1}">★</button>`).join("") +
      `</span><span class="ez-rate-keys">${keys}</span>`;
    dialog.querySelector(".ez-box-text").append(row);
    const paint = () => {
      const shot = now(); // none where it left the page meanwhile
      row.hidden = !shot?.dataset.run;
      if (row.hidden) return;
      const stars = +shot.dataset.stars;
      const on = shot.dataset.star === "on";
      row.querySelector(".ez-rate-star").setAttribute("aria-pressed", on);
      row.querySelector(".ez-rate-star").textContent = on ? starred : star;
      for (const button of row.querySelectorAll("[data-rate]")) {
        button.classList.toggle("is-on", +button.dataset.rate <= stars);
        button.setAttribute("aria-checked", +button.dataset.rate === stars);
        button.tabIndex = +button.dataset.rate === (stars || 1) ? 0 : -1;
      }
    };
    row.addEventListener("click", (event) => {
      const shot = now();
      const rate = event.target.closest("[data-rate]")?.dataset.rate;
      if (!shot) return paint();
      if (rate) say(shot, "rate", rate === shot.dataset.stars ? "0" : rate);
      else if (event.target.closest(".ez-rate-star")) say(shot, "star", shot.dataset.star === "on" ? "off" : "on");
      else return;
      paint();
    });
    row.addEventListener("keydown", (event) => {
      if (!event.target.dataset.rate || !/^Arrow/.test(event.key)) return;
      event.preventDefault();
      event.stopPropagation(); // these choose, and do not turn to the next picture
      const next = Math.min(STARS, Math.max(1, +event.target.dataset.rate + (event.key === "ArrowRight" || event.key === "ArrowUp" ? 1 : -1)));
      const shot = now();
      if (shot) say(shot, "rate", String(next));
      paint();
      row.querySelector(`[data-rate="${next}"]`).focus();
    });
    dialog.addEventListener("keydown", (event) => {
      const shot = now();
      if (!shot || byKey(event, shot)) paint();
    });
    return paint;
  };

  // several curves: the values under the pointer, or where the arrow keys stand
  const read = (chart, step) => {
    const lines = JSON.parse(chart.dataset.lines);
    const last = +chart.dataset.last;
    const near = (points) => points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
    const out = chart.querySelector(".ez-readout");
    chart.dataset.said ??= out.textContent;
    const values = lines.map(([letter, points]) => (step <= points.at(-1)[0] ? `${letter} ${easel.number(near(points)[1])}` : tr("{letter} ended", { letter })));
    out.textContent = [tr("step {step}", { step: Math.round(step) }), ...values].join(" · ");
    const cursor = chart.querySelector(".ez-cursor");
    cursor.hidden = false;
    cursor.style.left = `${(step / last) * 100}%`;
    const plot = chart.querySelector(".ez-plot");
    plot.setAttribute("aria-valuenow", Math.round(step));
    plot.setAttribute("aria-valuetext", out.textContent);
  };
  const leave = (chart) => {
    if (chart.dataset.said) chart.querySelector(".ez-readout").textContent = chart.dataset.said;
    delete chart.dataset.said;
    chart.querySelector(".ez-cursor").hidden = true;
  };
  document.addEventListener("pointermove", (event) => {
    const plot = event.target.closest?.(".ez-overlay .ez-plot");
    for (const chart of document.querySelectorAll(".ez-overlay[data-said]")) if (!chart.contains(plot) && !chart.contains(document.activeElement)) leave(chart);
    if (!plot) return;
    const area = plot.getBoundingClientRect();
    const chart = plot.closest(".ez-overlay");
    read(chart, Math.min(Math.max((event.clientX - area.left) / area.width, 0), 1) * +chart.dataset.last);
  });
  document.addEventListener("keydown", (event) => {
    const plot = event.target.closest?.(".ez-overlay .ez-plot");
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (!plot || !by) return;
    event.preventDefault();
    const chart = plot.closest(".ez-overlay");
    const last = +chart.dataset.last;
    read(chart, Math.min(Math.max(+plot.getAttribute("aria-valuenow") + by * last, 0), last));
  });
  document.addEventListener("focusout", (event) => {
    const chart = event.target.closest?.(".ez-overlay");
    if (chart) leave(chart);
  });
})();
