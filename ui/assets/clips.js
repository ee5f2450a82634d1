// A clip on the large view: where it cuts, what of it is learnt, and handles to set that.  It plays what is learnt, again and again.
(() => {
  const easel = (window.easel = window.easel || {});
  const shown = (seconds) => (Math.round(seconds * 100) / 100).toFixed(2).replace(/0$/, "");
  // element: the page of tiles.  box: the large view.  current(): the link that it shows.  Gives what is called with each link that is shown.
  easel.cutting = (element, box, current, fire) => {
    const video = box.querySelector("video");
    const may = !!element.querySelector(".ez-picks [data-act=treat]"); // the Dataset tab; elsewhere clips are only looked at
    const said = { start: tr("Start here"), end: tr("End here"), whole: tr("Whole clip"), from: tr("Where it starts, in seconds"), until: tr("Where it ends, in seconds") };
    for (const name in said) said[name] = easel.escaped(said[name]);
    const tools = document.createElement("div");
    tools.className = "ez-clip";
    tools.innerHTML =
      '<div class="ez-clip-bar"><span class="ez-clip-off"></span><span class="ez-clip-off"></span><span class="ez-clip-on"></span><span class="ez-clip-cuts"></span><i class="ez-clip-now"></i>' +
      `<input type="range" min="0" step="0.01" data-at="0" aria-label="${said.from}"><input type="range" min="0" step="0.01" data-at="1" aria-label="${said.until}"></div>` +
      `<p class="ez-clip-says"></p><div class="ez-clip-acts"><button type="button" data-cut="start">${said.start} <kbd>I</kbd></button>` +
      `<button type="button" data-cut="end">${said.end} <kbd>O</kbd></button><button type="button" data-cut="whole">${said.whole}</button></div>`;
    box.querySelector("figcaption").after(tools);
    const ends = [...tools.querySelectorAll("input")];
    const [before, after] = tools.querySelectorAll(".ez-clip-off");
    let [seconds, from, until, dragging] = [0, 0, 0, false];
    const least = () => Math.min(0.1, seconds); // shorter is no clip
    const share = (at) => `${seconds ? (100 * at) / seconds : 0}%`;
    const paint = () => {
      before.style.width = share(from);
      after.style.width = share(seconds - until);
      Object.assign(tools.querySelector(".ez-clip-on").style, { left: share(from), width: share(until - from) });
      [ends[0].value, ends[1].value] = [from, until];
      const whole = from === 0 && until === seconds;
      const cuts = (current().dataset.cuts || "").split(" ").filter(Boolean).map(Number).filter((at) => at > from && at < until).length;
      const parts = [whole ? tr("All {seconds} s are learnt", { seconds: shown(seconds) }) : tr("Learnt from {start} to {end} s, of {seconds} s", { start: shown(from), end: shown(until), seconds: shown(seconds) })];
      if (cuts) parts.push(trn("{n} scene, at the marks", "{n} scenes, at the marks", cuts + 1));
      tools.querySelector(".ez-clip-says").textContent = parts.join(" · ");
      tools.querySelector(".ez-clip-says").title = cuts ? tr("A run from the Train tab takes each scene by itself, so that none is learnt with a cut in it; “Scenes by themselves” in All settings of the Train tab changes that") : "";
      tools.querySelector("[data-cut=whole]").disabled = whole;
    };
    const keep = () => fire({ act: "trim", page: 0, ids: [current().closest("[data-id]").dataset.id], key: `${from.toFixed(2)} ${until.toFixed(2)}` });
    const set = (which, at) => {
      if (which) until = Math.max(Math.min(at, seconds), from + least());
      else from = Math.min(Math.max(at, 0), until - least());
      paint();
    };
    for (const end of ends) {
      end.addEventListener("input", () => {
        dragging = true;
        set(+end.dataset.at, +end.value);
        video.pause();
        video.currentTime = +end.dataset.at ? Math.max(until - 0.05, from) : from;
      });
      end.addEventListener("change", () => {
        dragging = false;
        keep();
        video.play().catch(() => {});
      });
    }
    const press = (cut) => {
      if (cut === "whole") [from, until] = [0, seconds];
      else set(cut === "end" ? 1 : 0, video.currentTime);
      paint();
      keep();
    };
    for (const name of ["click", "keydown"]) {
      tools.addEventListener(name, (event) => {
        event.stopPropagation(); // a click beside the picture closes it, and arrows go to the next one
        const button = name === "click" && event.target.closest("[data-cut]");
        if (button) press(button.dataset.cut);
        if (event.key === "Escape") box.close();
      });
    }
    box.addEventListener("keydown", (event) => {
      if (tools.hidden || !may || !("plays" in current().dataset) || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input")) return;
      const cut = { i: "start", o: "end" }[event.key.toLowerCase()];
      if (!cut) return;
      event.preventDefault();
      press(cut);
    });
    video.addEventListener("timeupdate", () => {
      tools.querySelector(".ez-clip-now").style.left = share(video.currentTime);
      if (!dragging && !video.paused && (video.currentTime >= until - 0.02 || video.currentTime < from - 0.1) && until - from < seconds) video.currentTime = from;
    });
    video.addEventListener("loadedmetadata", () => (video.currentTime = from));
    for (const end of ends) end.hidden = !may;
    tools.querySelector(".ez-clip-acts").hidden = !may;
    return (link) => {
      seconds = Number(link.dataset.seconds || 0);
      tools.hidden = !seconds;
      if (!seconds || dragging) return;
      const [a, b] = (link.dataset.trim || "0-0").split("-").map(Number);
      [from, until] = [a, b || seconds];
      for (const end of ends) end.max = seconds;
      tools.querySelector(".ez-clip-cuts").innerHTML = (link.dataset.cuts || "").split(" ").filter(Boolean).map((at) => `<i style="left:${share(Number(at))}"></i>`).join("");
      tools.querySelector(".ez-clip-now").hidden = !("plays" in link.dataset);
      for (const button of tools.querySelectorAll("[data-cut=start], [data-cut=end]")) button.hidden = !("plays" in link.dataset); // a GIF has no time to be asked for
      paint();
    };
  };
})();
