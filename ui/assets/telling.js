// When it is done: a notification and a sound of this browser, each turned on by its button, and asked about by nothing else.
(() => {
  const KEYS = { notify: "easel-tell-notify", sound: "easel-tell-sound" };
  const WORDS = {
    finished: (title) => tr("{title} is done", { title }), failed: (title) => tr("{title} failed", { title }), interrupted: (title) => tr("{title} was interrupted", { title }),
  };
  const SOON_MS = 15000; // between looks while nobody looks at this page: Gradio's own timer may rest then
  const LATER_MS = 60000; // where nothing runs
  const on = (what) => localStorage.getItem(KEYS[what]) === "on";
  const looking = () => document.visibilityState === "visible" && document.hasFocus();
  const head = () => document.querySelector(".ez-header");
  let audio = null;

  // Two notes, made here: rising for a good end, falling for a bad one.
  const play = (good) => {
    audio ||= new (window.AudioContext || window.webkitAudioContext)();
    audio.resume?.();
    (good ? [523.25, 783.99] : [392.0, 261.63]).forEach((pitch, n) => {
      const [tone, loud, at] = [audio.createOscillator(), audio.createGain(), audio.currentTime + 0.05 + n * 0.22];
      tone.frequency.value = pitch;
      loud.gain.setValueAtTime(0, at);
      loud.gain.linearRampToValueAtTime(0.18, at + 0.02);
      loud.gain.exponentialRampToValueAtTime(0.0008, at + 0.6);
      tone.connect(loud).connect(audio.destination);
      tone.start(at);
      tone.stop(at + 0.65);
    });
  };
  const notify = (title, text) => {
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    try {
      const shown = new Notification(title, { body: text, tag: "easel", icon: document.querySelector('link[rel~="icon"]')?.dataset.own || undefined });
      shown.onclick = () => (window.focus(), shown.close());
    } catch {
      localStorage.removeItem(KEYS.notify); // some phones know the word and cannot do it
    }
  };

  const say = (text) => {
    const said = document.querySelector("[data-tell-said]");
    if (said) [said.hidden, said.textContent] = [!text, text];
  };
  const paint = () => {
    for (const button of document.querySelectorAll("[data-tell]")) {
      const set = on(button.dataset.tell) && (button.dataset.tell !== "notify" || Notification?.permission === "granted");
      if (button.getAttribute("aria-pressed") === String(set) && button.dataset.painted) continue;
      button.dataset.painted = "yes";
      button.setAttribute("aria-pressed", String(set));
      button.textContent = set ? tr("Turn off") : tr("Turn on");
    }
  };
  const press = async (what) => {
    say("");
    if (on(what) && (what !== "notify" || Notification?.permission === "granted")) localStorage.removeItem(KEYS[what]);
    else if (what === "sound") {
      localStorage.setItem(KEYS.sound, "on");
      play(true);
      say(tr("This is how it sounds, as long as this page is open."));
    } else if (!("Notification" in window) || !window.isSecureContext) {
      say(tr("This browser shows notifications only of pages with https://, or of this computer itself. A message to a phone works all the same."));
    } else if ((await Notification.requestPermission()) !== "granted") {
      say(tr("This browser does not let Easel show notifications; that is changed in its settings for this page."));
    } else {
      localStorage.setItem(KEYS.notify, "on");
      notify("Easel", tr("So you will hear of it, as long as this page is open somewhere."));
    }
    paint();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-tell]");
    if (button) press(button.dataset.tell);
  });
  // a browser lets a page sound only after somebody has touched it
  document.addEventListener("pointerdown", () => on("sound") && (audio ||= new (window.AudioContext || window.webkitAudioContext)()).resume?.(), { once: true, capture: true });

  let known = null; // the end that was told, or was there when the page was opened
  const hear = () => {
    const { ended, endedT, endedTitle, endedAs } = head()?.dataset || {};
    if (!head()) return;
    const mark = ended ? `${ended} ${endedT} ${endedAs}` : "";
    if (known === null) known = mark;
    if (mark === known) return;
    known = mark;
    if (!(endedAs in WORDS)) return;
    if (on("sound")) play(endedAs === "finished");
    if (on("notify") && !looking()) notify(WORDS[endedAs](endedTitle), endedAs === "finished" ? tr("Its page shows what it has learnt.") : tr("Its page says why, and what to do."));
  };

  // While nobody looks the page asks by itself, a line at a time, so that title, icon, sound and notification come all the same.
  const ask = async () => {
    const url = document.getElementById("ez-tell")?.dataset.url;
    const idle = head() && !head().dataset.now;
    if (url && !looking()) {
      try {
        const answer = await fetch(url, { cache: "no-store" });
        const told = answer.ok ? await answer.json() : null;
        if (told && head() && !looking()) {
          for (const name of ["now", "share", "ended", "ended-title", "ended-as", "ended-t"]) {
            told[name] === undefined ? head().removeAttribute(`data-${name}`) : head().setAttribute(`data-${name}`, told[name]);
          }
        }
      } catch {
        // Easel is closed, or the way there is cut: the next look may find it again
      }
    }
    setTimeout(ask, idle ? LATER_MS : SOON_MS);
  };
  const begin = () => {
    const header = document.getElementById("ez-header");
    if (!header || !document.getElementById("ez-tell")) return requestAnimationFrame(begin);
    new MutationObserver(hear).observe(header, { subtree: true, childList: true, attributes: true });
    hear();
    paint();
    setTimeout(ask, SOON_MS);
  };
  begin();
})();
