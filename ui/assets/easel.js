// Easel: the language and the theme that were chosen, links between tabs, and the tab in the address.
(() => {
  // What a script says, in the language of the page (ui/server/spoken.py puts the words there); {names} are filled in.
  const easel = (window.easel = window.easel || {});
  easel.language = easel.language || "en";
  const filled = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? (typeof values[name] === "number" ? values[name].toLocaleString(easel.language) : values[name]) : all));
  window.tr = (text, values = {}) => filled(easel.words?.[text] || text, values);
  window.trn = (one, many, n, values = {}) => {
    const forms = easel.words?.[one] || [one, many];
    const order = new Intl.PluralRules(easel.language).resolvedOptions().pluralCategories; // "many" of Spanish and French counts millions
    const at = order.filter((name) => name !== "many").indexOf(new Intl.PluralRules(easel.language).select(n));
    return filled(forms[Math.max(0, Math.min(forms.length - 1, at < 0 ? forms.length - 1 : at))], { n, ...values });
  };
  // A text as HTML, for what is put together as HTML.
  easel.escaped = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  // A measured number in four digits or so, as the language writes it.
  const point = (1.5).toLocaleString(easel.language).charAt(1);
  easel.number = (value) => (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(1) : String(+value.toPrecision(4))).replace(".", point);

  // The choice is kept in a cookie, so that the server knows it before the page is there; where cookies are not kept, the address says it.
  document.addEventListener("change", (event) => {
    const choice = event.target.closest?.("[data-language]");
    if (!choice) return;
    const address = new URL(location.href);
    address.searchParams.delete("lang");
    const framed = location.protocol === "https:" ? "; SameSite=None; Secure; Partitioned" : "; SameSite=Lax";
    document.cookie = `easel-language=${choice.value}; path=/; max-age=${choice.value ? 31536000 : 0}${framed}`;
    if (choice.value && !document.cookie.includes(`easel-language=${choice.value}`)) address.searchParams.set("lang", choice.value);
    address.href === location.href ? location.reload() : location.replace(address);
  });
})();
(() => {
  const KEY = "easel-theme";
  const wanted = () => localStorage.getItem(KEY) || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const apply = () => {
    const dark = wanted() === "dark";
    if (document.body.classList.contains("dark") !== dark) document.body.classList.toggle("dark", dark);
  };
  const start = () => {
    apply();
    new MutationObserver(apply).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  };
  document.body ? start() : document.addEventListener("DOMContentLoaded", start);
  const easel = (window.easel = window.easel || {});
  easel.go = (tab) => {
    document.getElementById(`ez-tab-${tab}-button`)?.click();
    window.scrollTo({ top: 0 });
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-tab]");
    if (link) easel.go(link.dataset.tab);
    if (event.target.closest?.("[data-theme-toggle]")) {
      localStorage.setItem(KEY, wanted() === "dark" ? "light" : "dark");
      apply();
    }
  });

  // The address names the tab: #train.  So a refresh, Back and a bookmark show the one that was meant.
  const shown = (easel.shown = () => document.querySelector("#ez-tabs [role=tab][aria-selected=true]")?.id.match(/^ez-tab-(.+)-button$/)?.[1]);
  const asked = () => location.hash.slice(1);
  const follow = () => {
    const tab = asked() || "dataset";
    if (tab !== shown() && document.getElementById(`ez-tab-${tab}-button`)) easel.go(tab);
  };
  const begin = () => {
    if (!shown()) return requestAnimationFrame(begin);
    follow();
    new MutationObserver(() => shown() && shown() !== (asked() || "dataset") && (location.hash = shown())).observe(
      document.getElementById("ez-tabs"), { subtree: true, attributeFilter: ["aria-selected"] },
    );
    window.addEventListener("hashchange", follow);
  };
  begin();
})();

// Pages of pictures: ticks, the bar of what is selected, captions saved on leaving their box, a picture large.
(() => {
  const easel = (window.easel = window.easel || {});
  const ids = (element) => [...element.querySelectorAll("[data-pick]:checked")].map((box) => box.closest("[data-id]").dataset.id);

  // A new page may be put into the boxes of the old one: what was ticked and typed there must not stay, or it would be taken for
  // that of another picture.  Only the box that somebody is typing in, for the very same picture, is left as it is.
  const settle = (element) => {
    for (const box of element.querySelectorAll("[data-pick]")) box.checked = box.defaultChecked;
    for (const box of element.querySelectorAll("[data-caption]")) {
      const typing = box === document.activeElement && box.dataset.for === box.closest("[data-id]").dataset.id;
      if (typing) continue;
      box.value = box.defaultValue;
      delete box.dataset.saved;
    }
    for (const said of element.querySelectorAll(".ez-saved")) said.textContent = "";
  };

  easel.grid = (element, fire, watch, server) => {
    let last = null;
    watch("value", () => {
      settle(element);
      bar();
      element.dispatchEvent(new Event("ez-turned"));
    });
    const bar = () => {
      const picks = element.querySelector(".ez-picks");
      if (!picks) return;
      const chosen = ids(element).length + Number(picks.dataset.elsewhere || 0); // those of other pages stay selected
      picks.hidden = chosen === 0;
      picks.querySelector("[data-count]").textContent = trn("{n} selected", "{n} selected", chosen);
      element.classList.toggle("ez-picking", chosen > 0);
      easel.pairsPicked(element);
      element.querySelectorAll("[data-id]").forEach((tile) => tile.classList.toggle("ez-on", !!tile.querySelector("[data-pick]:checked")));
    };
    // Where an edit reaches the selected ones, the server is told of each change; the last of several quick ones is enough.
    let due = 0;
    const tell = () => {
      bar();
      if (!element.querySelector(".ez-picks[data-tell]")) return;
      clearTimeout(due);
      due = setTimeout(() => fire({ act: "pick", page: 0, ids: ids(element), shown: [...element.querySelectorAll("[data-id]")].map((tile) => tile.dataset.id) }), 120);
    };
    const setAll = (on) => {
      element.querySelectorAll("[data-pick]").forEach((box) => (box.checked = on));
      tell();
    };
    const pick = (box, range) => {
      const boxes = [...element.querySelectorAll("[data-pick]")];
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
      if (range && last && from >= 0) boxes.slice(from, to + 1).forEach((b) => (b.checked = box.checked));
      last = box;
      tell();
    };
    const keys = (fields) => (fields ? [...element.querySelectorAll(fields)].map((field) => field.value).join(":") : "");
    element.addEventListener("click", (event) => {
      const zoom = event.target.closest("[data-zoom]");
      if (zoom) {
        event.preventDefault();
        const box = zoom.closest("[data-id]")?.querySelector("[data-pick]");
        if (!box || !(event.ctrlKey || event.metaKey || event.shiftKey)) return easel.zoom(element, zoom, fire);
        box.checked = event.shiftKey || !box.checked; // as in a file manager
        return pick(box, event.shiftKey);
      }
      const button = event.target.closest("[data-act]");
      if (!button || button.disabled) return;
      const { act, page } = button.dataset;
      if (act === "all") return setAll(true);
      if (act === "none") return setAll(false);
      fire({ act, page: Number(page || 0), ids: ids(element), key: button.dataset.key || keys(button.dataset.keys) });
      if (act === "page") element.scrollIntoView({ block: "start" });
    });
    element.addEventListener("click", (event) => {
      const box = event.target.closest("[data-pick]");
      if (box) pick(box, event.shiftKey);
    });
    if (server) easel.captions(element, server, fire);
  };

  // Each caption box is saved when it is left, and a moment after the last key: what was typed outlives a lost page.
  easel.captions = (element, server, fire) => {
    const timers = new WeakMap();
    const save = async (box) => {
      clearTimeout(timers.get(box));
      const before = box.dataset.saved ?? box.defaultValue;
      if (box.value === before) return;
      const sent = box.value;
      const tile = box.closest("[data-id]");
      const { id } = tile.dataset;
      const said = tile.querySelector(".ez-saved");
      said.textContent = tr("Saving…");
      try {
        const answer = await server.save_caption({ dataset: box.closest("[data-dataset]").dataset.dataset, id, text: sent });
        if (answer.error) throw new Error(answer.error);
        if (tile.dataset.id !== id) return; // the page was turned in the meantime
        box.dataset.saved = sent;
        const done = (said.textContent = tr("Saved"));
        said.classList.remove("ez-bad");
        const chips = tile.querySelector(".ez-tile-chips");
        if (chips) chips.innerHTML = answer.chips;
        tile.querySelector(".ez-source").innerHTML = answer.note;
        fire({ act: "saved" });
        setTimeout(() => said.textContent === done && (said.textContent = ""), 2000);
      } catch (error) {
        said.textContent = error.message || tr("Not saved");
        said.classList.add("ez-bad");
      }
    };
    element.addEventListener("focusin", (event) => {
      if (event.target.matches("[data-caption]")) event.target.dataset.for = event.target.closest("[data-id]").dataset.id;
    });
    element.addEventListener("focusout", (event) => event.target.matches("[data-caption]") && save(event.target));
    element.addEventListener("keydown", (event) => {
      if (!event.target.matches("[data-caption]") || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      const boxes = [...element.querySelectorAll("[data-caption]")];
      (boxes[boxes.indexOf(event.target) + (event.shiftKey ? -1 : 1)] || event.target).focus(); // leaving a box saves it
    });
    element.addEventListener("input", (event) => {
      if (!event.target.matches("[data-caption]")) return;
      clearTimeout(timers.get(event.target));
      timers.set(event.target, setTimeout(() => save(event.target), 1500));
    });
    window.addEventListener("pagehide", () => element.querySelectorAll("[data-caption]").forEach(save));
  };

  // What the captioner wrote, put into the tiles on the page; a box that somebody is typing in is left alone.
  easel.patch = (text) => {
    if (!text) return;
    const { dataset, rows } = JSON.parse(text);
    const root = [...document.querySelectorAll("[data-dataset]")].find((e) => e.dataset.dataset === dataset);
    if (!root) return;
    for (const tile of root.querySelectorAll("[data-id]")) {
      const row = rows[tile.dataset.id];
      const box = tile.querySelector("[data-caption]");
      if (!row || !box) continue;
      tile.querySelector(".ez-tile-chips").innerHTML = row.chips;
      tile.querySelector(".ez-source").innerHTML = row.note;
      const typing = box === document.activeElement || box.value !== (box.dataset.saved ?? box.defaultValue);
      if (!typing && box.value !== row.text) box.value = box.dataset.saved = row.text;
    }
  };

  // The part of a picture that is learnt, drawn on it; dragged, or moved with Shift and the arrows, it is cut elsewhere from then on.
  easel.crop = (box, moved) => {
    const frame = box.querySelector(".ez-crop");
    let shares = null;
    let link = null;
    const draw = () => {
      const [left, top, width, height] = shares.map((share) => `${share * 100}%`);
      Object.assign(frame.firstChild.style, { left, top, width, height });
    };
    const move = (x, y) => {
      shares[0] = Math.min(Math.max(x, 0), 1 - shares[2]);
      shares[1] = Math.min(Math.max(y, 0), 1 - shares[3]);
      draw();
    };
    const keep = () => {
      link.dataset.crop = shares.join(" ");
      moved(link, shares[0] + shares[2] / 2, shares[1] + shares[3] / 2);
    };
    const loose = () => shares && (shares[2] < 0.999 || shares[3] < 0.999);
    let from = null;
    frame.addEventListener("pointerdown", (event) => {
      if (!loose()) return;
      const { width, height } = frame.getBoundingClientRect();
      from = { x: event.clientX, y: event.clientY, left: shares[0], top: shares[1], width, height };
      frame.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    frame.addEventListener("pointermove", (event) => from && move(from.left + (event.clientX - from.x) / from.width, from.top + (event.clientY - from.y) / from.height));
    frame.addEventListener("pointerup", () => {
      const changed = from && (from.left !== shares[0] || from.top !== shares[1]);
      from = null;
      if (changed) keep();
    });
    frame.addEventListener("pointercancel", () => {
      if (from) move(from.left, from.top);
      from = null;
    });
    box.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] }[event.key];
      if (!by || !event.shiftKey || !loose()) return;
      event.preventDefault();
      move(shares[0] + by[0], shares[1] + by[1]);
      keep();
    });
    return (shown) => {
      link = shown;
      shares = link.dataset.crop ? link.dataset.crop.split(" ").map(Number) : null;
      frame.hidden = !shares;
      frame.classList.toggle("ez-loose", !!loose());
      if (shares) draw();
      return loose();
    };
  };

  // A picture large.  Where it has a caption on the page, that is typed below it, and the keys go from one to the next, over all pages.
  easel.zoom = (element, link, fire) => {
    let links = [...element.querySelectorAll("[data-zoom]")];
    let at = links.indexOf(link);
    let turning = 0; // to another page: from its first picture (1) or its last (-1)
    const box = document.createElement("dialog");
    box.className = "ez-zoom";
    box.setAttribute("aria-label", tr("Picture"));
    const [close, before, after, keys] = [tr("Close"), tr("Previous"), tr("Next"), tr("Ctrl Enter: save, next · Page Up and Page Down: go on · Esc: close")].map(easel.escaped);
    box.innerHTML =
      `<button type="button" class="ez-zoom-x" aria-label="${close}">×</button><button type="button" class="ez-zoom-p" aria-label="${before}">‹</button>` +
      '<figure><span class="ez-shown"><img alt=""><span class="ez-crop" hidden><i></i></span></span><video controls autoplay loop muted playsinline hidden></video><figcaption></figcaption></figure>' +
      `<button type="button" class="ez-zoom-n" aria-label="${after}">›</button>`;
    const field = document.createElement("div");
    field.className = "ez-zoom-text";
    field.innerHTML = `<textarea class="ez-area" rows="3" spellcheck="true"></textarea><p><span>${keys}</span><b aria-live="polite"></b></p>`;
    const [text, told] = [field.querySelector("textarea"), field.querySelector("b")];
    const own = () => links[at]?.closest("[data-id]")?.querySelector("[data-caption]");
    if (own()) box.querySelector("figure").append(field);
    const crop = easel.crop(box, (of, x, y) => fire?.({ act: "focus", page: 0, ids: [of.closest("[data-id]").dataset.id], key: `${x.toFixed(4)} ${y.toFixed(4)}` }));
    const asLearnt = easel.treated(element, box, () => links[at], fire);
    const withBefores = easel.befores(box);
    const cutting = easel.cutting(element, box, () => links[at], fire);
    const named = (one) => `${one.closest("[data-id]")?.dataset.id} ${one.dataset.zoom}`;
    let seen = "";
    const show = (to) => {
      at = (to + links.length) % links.length;
      seen = named(links[at]);
      const [picture, video] = [box.querySelector(".ez-shown img"), box.querySelector("video")]; // pictures before it stand in front
      const plays = "plays" in links[at].dataset;
      [picture.hidden, video.hidden] = [plays, !plays];
      if (!plays) video.removeAttribute("src");
      else if (video.src !== links[at].href) video.src = links[at].href;  // one that is trimmed plays on
      video.poster = plays ? links[at].querySelector("img").src : "";  // for what this browser cannot decode
      if (!plays) {
        picture.src = links[at].href;
        picture.alt = links[at].dataset.zoom;
      }
      box.querySelector(".ez-shown").hidden = plays;
      const can = crop(links[at]);
      asLearnt(links[at]);
      withBefores(links[at]);
      cutting(links[at]);
      const { zoom, size } = links[at].dataset;
      box.querySelector("figcaption").textContent = [zoom, `${at + 1} / ${links.length}`, ...(size ? [can ? tr("{size}, drag to move it", { size }) : size] : [])].join("   ");
      if (!own()) return;
      text.value = own().value;
      text.setAttribute("aria-label", own().getAttribute("aria-label"));
      told.textContent = "";
    };
    const keep = () => own() && own().dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
    const go = (ahead) => {
      keep();
      const beyond = at + ahead < 0 || at + ahead >= links.length;
      const turn = () => element.querySelector(`.ez-pager [data-act=page]:${ahead > 0 ? "last" : "first"}-child:not(:disabled)`);
      if (!beyond || !own() || !turn()) return show(at + ahead);
      turning = ahead;
      const ask = () => {
        if (!turning || !box.isConnected) return;
        turn()?.click();
        setTimeout(ask, 1500); // a click is lost while an answer to another is under way; the button names the page, so twice is no harm
      };
      ask();
    };
    const turned = () => {
      links = [...element.querySelectorAll("[data-zoom]")];
      if (!links.length) return box.close();
      const same = links.findIndex((one) => named(one) === seen); // pictures may have come or gone before it
      if (turning) show(turning > 0 ? 0 : links.length - 1);
      else at = same >= 0 ? same : Math.min(at, links.length - 1);
      if (!turning && (same < 0 || !own())) show(at); // another one, or this one turned or cut elsewhere
      turning = 0;
    };
    element.addEventListener("ez-turned", turned);
    const saved = new MutationObserver(() => (told.textContent = links[at]?.closest("[data-id]")?.querySelector(".ez-saved")?.textContent || ""));
    saved.observe(element, { subtree: true, childList: true, characterData: true });
    text.addEventListener("input", () => {
      own().value = text.value;
      own().dispatchEvent(new Event("input", { bubbles: true }));
    });
    box.addEventListener("click", (event) => {
      if (event.target.closest(".ez-zoom-p")) return go(-1);
      if (event.target.closest(".ez-zoom-n")) return go(1);
      if (!event.target.closest("img, video, .ez-crop, .ez-zoom-text")) box.close();
    });
    box.addEventListener("keydown", (event) => {
      const typing = event.target === text;
      if (event.shiftKey && event.key.startsWith("Arrow")) return;
      const next = event.key === "PageDown" || (event.key === "Enter" && (event.ctrlKey || event.metaKey)) || (event.key === "ArrowRight" && !typing);
      if (!next && event.key !== "PageUp" && !(event.key === "ArrowLeft" && !typing)) return;
      event.preventDefault();
      go(next && !(event.key === "Enter" && event.shiftKey) ? 1 : -1);
    });
    box.addEventListener("close", () => {
      keep();
      saved.disconnect();
      element.removeEventListener("ez-turned", turned);
      box.remove();
      links[at]?.focus();
    });
    document.body.append(box);
    show(at);
    box.showModal();
    if (own()) text.focus();
  };

  // On a phone the panel is a sheet over the page: it starts closed.
  const phone = matchMedia("(max-width: 860px)");
  const tidy = () => {
    const side = document.getElementById("ez-sidebar");
    if (!side) return requestAnimationFrame(tidy);
    if (phone.matches && side.classList.contains("open")) side.querySelector(".toggle-button").click();
    setTimeout(() => (document.documentElement.dataset.side = "ready"), 350);
  };
  tidy();
})();

// What is seen from outside: the browser tab's title and icon say how far a run is, and how it ended, until somebody looks.
(() => {
  const SIGNS = {
    finished: ["✓", "#17744a", (title) => tr("{title} is done", { title })], failed: ["!", "#bd3029", (title) => tr("{title} failed", { title })],
    interrupted: ["!", "#96620b", (title) => tr("{title} was interrupted", { title })], stopped: ["■", "#635e57", (title) => tr("{title} stopped", { title })],
  };
  const looking = () => document.visibilityState === "visible" && document.hasFocus();
  let seen = null; // the end that was looked at
  let shown = "";
  const icon = (colour, share) => {
    const link = document.querySelector('link[rel~="icon"]');
    const logo = document.querySelector(".ez-brand svg");
    if (!link || !logo) return;
    link.dataset.own ||= link.href;
    if (!colour) return void (link.href !== link.dataset.own && (link.href = link.dataset.own));
    const svg = logo.cloneNode(true);
    const [, , wide, high] = (svg.getAttribute("viewBox") || "0 0 64 64").split(" ").map(Number);
    const badge = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ cx: wide * 0.74, cy: high * 0.74, r: wide * 0.25, fill: colour, stroke: "#fff", "stroke-width": wide * 0.06 })) badge.setAttribute(key, value);
    svg.append(badge);
    if (share) {
      const round = 2 * Math.PI * wide * 0.16; // a pie in the badge: as much of it is white as is done
      const pie = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      const drawn = { cx: wide * 0.74, cy: high * 0.74, r: wide * 0.08, fill: "none", stroke: "#fff", "stroke-width": wide * 0.16, "stroke-dasharray": `${(round / 2) * share} ${round}`, transform: `rotate(-90 ${wide * 0.74} ${high * 0.74})` };
      for (const [key, value] of Object.entries(drawn)) pie.setAttribute(key, value);
      svg.append(pie);
    }
    link.href = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
  };
  const tell = () => {
    const head = document.querySelector(".ez-header");
    if (!head) return;
    const { now, share, ended, endedTitle, endedAs } = head.dataset;
    if (seen === null) seen = ended || ""; // what ended before this page was opened is no news
    if (ended && looking()) seen = ended;
    const [sign, colour, how] = (ended && ended !== seen && SIGNS[endedAs]) || [];
    const title = sign ? `${sign} ${how(endedTitle)}` : now ? `${share ? `${share} · ` : ""}${now}` : "Easel";
    if (title !== document.title) document.title = title;
    const done = sign ? 0 : Math.round(parseFloat(share || "0") / 5) / 20; // in steps: an icon is not drawn anew at every tick
    const look = colour || (now ? "#4655d8" : "");
    if (`${look} ${done}` === shown) return;
    shown = `${look} ${done}`;
    icon(look, done);
  };
  const begin = () => {
    const header = document.getElementById("ez-header");
    if (!header) return requestAnimationFrame(begin);
    new MutationObserver(tell).observe(header, { subtree: true, childList: true, attributes: true });
    for (const event of ["focus", "visibilitychange"]) window.addEventListener(event, tell, true);
    tell();
  };
  begin();
})();

// What scrolls can be reached by keyboard, and shows that there is more; a sheet of a phone opens and closes.
(() => {
  const SCROLLS = ".ez-wide, .ez-scroll, .ez-log, .ez-card-preview, .ez-card-preview pre, .ez-shots, .ez-side-card, #ez-cap-side";
  const mark = () => {
    // Gradio's messages are a button around the button that closes them
    for (const head of document.querySelectorAll(".toast-header[role=button]")) ["role", "tabindex"].forEach((name) => head.removeAttribute(name));
    for (const drop of document.querySelectorAll(".ez-drop button[aria-label]")) if (drop.innerText.trim()) drop.removeAttribute("aria-label"); // its text says more
    for (const part of document.querySelectorAll(SCROLLS)) {
      const wide = part.scrollWidth > part.clientWidth + 1;
      const scrolls = wide || part.scrollHeight > part.clientHeight + 1;
      if (scrolls && !part.hasAttribute("tabindex")) part.tabIndex = 0;
      if (part.matches(".ez-shots")) part.classList.toggle("is-more", wide && part.scrollLeft + part.clientWidth < part.scrollWidth - 4);
    }
  };
  let due = 0;
  const soon = () => (due ||= setTimeout(() => ((due = 0), mark()), 200));
  document.addEventListener("scroll", soon, true);
  window.addEventListener("resize", soon);
  const begin = () => (document.body ? new MutationObserver(soon).observe(document.body, { subtree: true, childList: true }) : requestAnimationFrame(begin));
  begin();
  document.addEventListener("click", (event) => {
    const toggle = event.target.closest?.("[data-sheet]");
    if (!toggle) return;
    const open = document.getElementById(toggle.dataset.sheet).classList.toggle("is-open");
    toggle.setAttribute("aria-expanded", open);
  });
})();
